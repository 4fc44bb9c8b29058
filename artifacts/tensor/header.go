package tensor

// maxHeader is the most bytes that a header may take: the limit of the reference implementation of safetensors. GGUF has
// none of its own; a vocabulary of 260,000 tokens takes about a tenth.
const maxHeader = 100_000_000

// Tensor is one tensor of a file. Offset counts from the beginning of the file.
type Tensor struct {
	Name   string
	DType  string
	Shape  []int64 // the last dimension is the one whose numbers lie side by side
	Offset int64
	Size   int64 // bytes
}

// Header is what a file of tensors says of itself.
type Header struct {
	Tensors  []Tensor          // in the order in which they lie in the file
	Metadata map[string]string // of safetensors
	Data     int64             // where the tensors begin
	// BigEndian: numbers begin with their most significant byte, as in GGUF files for s390x.
	BigEndian bool
}
