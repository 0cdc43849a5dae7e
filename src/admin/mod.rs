//! The admin listener: status over gRPC and HTTP.
