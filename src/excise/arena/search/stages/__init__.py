"""Parts that submissions are put together from: their text is copied into a file, so they import nothing of Excise that
the copy would not have beside it. A stage NAME is a file with `fit_NAME` and `transform_NAME`, for two classes."""
