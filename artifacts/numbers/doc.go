// Package numbers knows how the numbers of tensors are written, and by how much those of two models differ. It reads them in pieces,
// so that a model may be larger than memory, and must not know where the files lie or what a model is for.
package numbers
