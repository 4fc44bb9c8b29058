package tensor_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// sized is a file whose header's length is told, not measured.
func sized(length uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, length), rest...)
}

// sameBytes is a header in which n tensors claim the same bytes.
func sameBytes(n int, shape string, size int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"weight_%d":{"dtype":"F32","shape":%s,"data_offsets":[0,%d]}`, i, shape, size)
	}
	return "{" + b.String()[1:] + "}"
}

const (
	testI32 = `{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}` // 60 bytes
	oneF32  = `{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
)

// hostileSafetensors are the files that the reference implementation refuses, each put together anew here: those of its own tests in
// safetensors/src/tensor.rs and of its folder attacks/, by their names there, and those that its JSON reader refuses where
// Go's would not.
func hostileSafetensors() map[string][]byte {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	one := func(body string) []byte { return file(`{"test":`+body+`}`, 4) }
	nested := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	return map[string][]byte{
		"test_json_attack":                                   file(sameBytes(10, "[2,2]", 16), 16),
		"test_metadata_incomplete_buffer, polyglot":          sized(60, testI32+zeros(16)+"extra_bogus_data_for_polyglot_file"),
		"test_metadata_incomplete_buffer, two bytes missing": sized(60, testI32+zeros(14)),
		"test_header_too_large":                              sized(60|0xffffff<<40, testI32+zeros(16)),
		"test_header_too_small":                              nil,
		"test_invalid_header_length":                         sized(60, ""),
		"test_invalid_header_non_utf8":                       sized(1, "\xff"),
		"test_invalid_header_not_json":                       sized(1, "{"),
		"test_whitespace_start_padded_header_is_not_allowed": file("\t\n{}\r ", 0),
		"test_invalid_info":                                  file(`{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0, 4]}}`, 0),
		"test_validation_overflow, shape":                    file(`{"test":{"dtype":"I32","shape":[2,18446744073709551614],"data_offsets":[0,16]}}`, 16),
		"test_validation_overflow, bytes":                    file(`{"test":{"dtype":"I32","shape":[2,9223372036854775807],"data_offsets":[0,16]}}`, 16),
		"safetensors_abuse_attempt_1":                        sized(1000, testI32+zeros(16)),
		// 10,000,000 tensors make a header longer than there may be; of the 100,000 of the third, a fifth.
		"safetensors_abuse_attempt_2": sized(100_000_001, zeros(64)),
		"safetensors_abuse_attempt_3": file(sameBytes(20_000, "[200,200]", 160_000), 160_000),

		"null in a shape":          one(`{"dtype":"F32","shape":[null],"data_offsets":[0,0]}`),
		"null in the offsets":      one(`{"dtype":"F32","shape":[1],"data_offsets":[null,4]}`),
		"null for a tensor":        one(`null`),
		"null for a dtype":         one(`{"dtype":null,"shape":[1],"data_offsets":[0,4]}`),
		"null in the metadata":     file(`{"__metadata__":{"a":null}}`, 0),
		"a number in the metadata": file(`{"__metadata__":{"a":1}}`, 0),
		"upper-case fields":        one(`{"DTYPE":"F32","Shape":[1],"data_Offsets":[0,4]}`),
		"a field twice":            one(`{"dtype":"F16","dtype":"F32","shape":[1],"data_offsets":[0,4]}`),
		"a minus before a zero":    one(`{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}`),
		"a fraction":               one(`{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}`),
		"an exponent":              one(`{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}`),
		"a number in quotes":       one(`{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}`),
		"half a surrogate pair":    file(`{"\ud800":`+oneF32+`}`, 4),
		"two first halves":         file(`{"\ud800\ud800":`+oneF32+`}`, 4),
		"a second half":            file(`{"\udc00":`+oneF32+`}`, 4),
		"a half in the metadata":   file(`{"__metadata__":{"a":"\ud800"}}`, 0),
		"the metadata twice":       file(`{"__metadata__":{},"__metadata__":{}}`, 0),
		"a comma at the end":       file(`{"test":`+oneF32+`,}`, 4),
		"deep nesting":             one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":` + nested + `}`),
		"a NUL behind":             file(testI32+"\x00", 16),
		"a byte order mark":        file("\ufeff"+testI32, 16),
	}
}

func TestHostileSafetensorsAreRefused(t *testing.T) {
	for name, b := range hostileSafetensors() {
		var err error
		took := allocated(func() { _, err = readHeader(b) })
		if !errors.Is(err, tensor.ErrSafetensors) {
			t.Errorf("%s: %v", name, err)
		}
		if took > 1<<20+32*uint64(len(b)) {
			t.Errorf("%s: %d bytes were allocated for a file of %d", name, took, len(b))
		}
	}
}

// soundSafetensors are files that the reference implementation takes, by the names of its tests, where a strict reader may refuse them.
func soundSafetensors() map[string][]byte {
	return map[string][]byte{
		"test_whitespace_padded_header": file("{}\r \t\n", 0),
		"test_zero_sized_tensor":        file(`{"test":{"dtype":"I32","shape":[2,0],"data_offsets":[0, 0]}}`, 0),
		"test_empty_shapes_allowed":     file(`{"test":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}`, 4),
		"test_empty":                    file("{}      ", 0),
		"metadata null":                 file(`{"__metadata__":null}`, 0),
		"an unknown field":              file(`{"test":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":{"y":[]}}}`, 4),
		"a pair of surrogates":          file(`{"\ud83d\ude00":`+oneF32+`}`, 4),
		"a backslash before a u":        file(`{"\\ud800":`+oneF32+`}`, 4),
	}
}

func TestOddSafetensorsAreSound(t *testing.T) {
	for name, b := range soundSafetensors() {
		if _, err := readHeader(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
