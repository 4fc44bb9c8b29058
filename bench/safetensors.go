package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// madeTensor is a tensor of a file that is written; bytes are made when their turn comes.
type madeTensor struct {
	name, dtype string
	shape       []int64
	bytes       func() ([]byte, error)
}

// widths are the bytes of a number of each type that is written.
var widths = map[string]int64{"BF16": 2, "I8": 1, "I32": 4}

func (t madeTensor) count() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// writeSafetensors makes a file as the library of that name does, the tensors in the order given, through to the disk.
func writeSafetensors(path string, tensors []madeTensor) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := writeTensors(w, tensors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func writeTensors(w io.Writer, tensors []madeTensor) error {
	var head strings.Builder
	head.WriteString(`{"__metadata__":{"format":"pt"}`)
	at := int64(0)
	for _, t := range tensors {
		size := t.count() * widths[t.dtype]
		said, err := json.Marshal(map[string]any{"dtype": t.dtype, "shape": t.shape, "data_offsets": []int64{at, at + size}})
		if err != nil {
			return err
		}
		fmt.Fprintf(&head, ",%q:%s", t.name, said)
		at += size
	}
	head.WriteString("}")
	head.WriteString(strings.Repeat(" ", (8-head.Len()%8)%8))
	if err := binary.Write(w, binary.LittleEndian, uint64(head.Len())); err != nil {
		return err
	}
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	for _, t := range tensors {
		b, err := t.bytes()
		if err != nil {
			return err
		}
		if int64(len(b)) != t.count()*widths[t.dtype] {
			return fmt.Errorf("%s has %d bytes", t.name, len(b))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// bfloat16 rounds to nearest, to even where two are as near.
func bfloat16(numbers []float32) []byte {
	out := make([]byte, 2*len(numbers))
	for i, x := range numbers {
		bits := math.Float32bits(x)
		binary.LittleEndian.PutUint16(out[2*i:], uint16((bits+0x7fff+bits>>16&1)>>16))
	}
	return out
}
