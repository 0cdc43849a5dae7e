//! Between a pipeline and one exporter: the bounded queue, retry, timeout, and what a drain could not deliver.
