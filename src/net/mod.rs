//! The network edge: listeners, TLS, the gRPC bytes codec, HTTP, capped decompression, and the client side of both.
