// Package tensor knows where tensors lie in a file. It reads headers and never numbers, and must not know what a model
// is for. Headers come from strangers: every size is checked before it is believed.
package tensor
