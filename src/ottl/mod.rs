//! The OpenTelemetry Transformation Language: parser, functions, evaluator. Conditions so far.
