// Package s3 is a flat bucket on an S3-compatible server: artifacts.Objects over minio-go, with patience, a deadline of progress on every
// call, and a probe that finds out what the server can be trusted with. It knows requests and their failures. It must not know what
// the names and bytes in the bucket mean: that is artifacts/bucket and those above it.
package s3
