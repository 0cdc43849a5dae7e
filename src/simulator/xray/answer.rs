//! Errors as the X-Ray API gives them.

use super::super::answer::ApiError;

/// 400.
pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("InvalidRequestException", message)
}

/// 429.
pub fn throttled() -> ApiError {
    ApiError {
        status: 429,
        ..ApiError::sender("ThrottledException", "Rate exceeded")
    }
}

/// 404.
pub fn not_found(message: impl Into<String>) -> ApiError {
    ApiError {
        status: 404,
        ..ApiError::sender("ResourceNotFoundException", message)
    }
}
