//! Reaching AWS: credentials, regions, rate limits, the CloudWatch poller.
