// Package disk keeps artifacts in a folder of this machine: bytes, pointers, leases and the workspaces in which stages
// run. It knows the layout of docs/format.md and how to write so that a crash leaves no half-written name. It must not
// know what the bytes mean beyond a Manifest's paths, nor who builds what.
//
// Lock order: a lease, then a workspace, then the pointers' lock. The scratch folder's lock is held throughout.
package disk
