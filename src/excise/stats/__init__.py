"""Statistics that erasers and measures share: moments, covariance shrinkage, splits by group, bootstrap."""
