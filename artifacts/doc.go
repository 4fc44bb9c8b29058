// Package artifacts is the stored object model: digests, manifests, actions, records and builds, their encodings,
// and the three interfaces to a place that keeps bytes. It knows what a cached result is and in which order it is
// written. It must not know recipes, stage kinds, schedulers, or where a store keeps its bytes.
package artifacts
