package bucket

// For the fuzz test of what others write as leases.
var (
	DecodeLease = decodeLease
	EncodeLease = encodeLease
)
