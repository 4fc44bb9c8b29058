package main

import "math"

// scheme gives the tensors that store a weight.
type scheme func(w weight, numbers func() ([]float32, error)) []madeTensor

// plain16 is bf16.
func plain16(w weight, numbers func() ([]float32, error)) []madeTensor {
	return []madeTensor{{w.name, "BF16", w.shape, func() ([]byte, error) {
		all, err := numbers()
		return bfloat16(all), err
	}}}
}

// int8Rows is 8 bits a number, with a scale for each row.
func int8Rows(w weight, numbers func() ([]float32, error)) []madeTensor {
	return quantized(w, numbers, 127, w.shape[1], madeTensor{w.name, "I8", w.shape, nil}, func(out []byte, whole []int8) {
		for i, q := range whole {
			out[i] = byte(q)
		}
	})
}

// int4Groups is 4 bits a number, eight to a word, with a scale for each 64 of a row.
func int4Groups(w weight, numbers func() ([]float32, error)) []madeTensor {
	packed := madeTensor{w.name + "_packed", "I32", []int64{w.shape[0], w.shape[1] / 8}, nil}
	return quantized(w, numbers, 7, 64, packed, func(out []byte, whole []int8) {
		for i, q := range whole {
			out[i/2] |= byte(q+8) << (4 * (i % 2))
		}
	})
}

// quantized rounds groups of so many numbers that lie side by side, each by its largest, to whole ones of at most most.
func quantized(w weight, numbers func() ([]float32, error), most float32, group int64, stored madeTensor, pack func(out []byte, whole []int8)) []madeTensor {
	round := func() (whole []int8, scales []float32, err error) {
		all, err := numbers()
		if err != nil {
			return nil, nil, err
		}
		whole = make([]int8, len(all))
		for at := 0; at < len(all); at += int(group) {
			largest := float32(0)
			for _, x := range all[at : at+int(group)] {
				largest = max(largest, max(x, -x))
			}
			scale := max(largest/most, math.SmallestNonzeroFloat32)
			for i, x := range all[at : at+int(group)] {
				whole[at+i] = int8(math.RoundToEven(float64(x / scale)))
			}
			scales = append(scales, scale)
		}
		return whole, scales, nil
	}
	stored.bytes = func() ([]byte, error) {
		whole, _, err := round()
		out := make([]byte, stored.count()*widths[stored.dtype])
		pack(out, whole)
		return out, err
	}
	return []madeTensor{stored, {w.name + "_scale", "BF16", []int64{w.shape[0], w.shape[1] / group}, func() ([]byte, error) {
		_, scales, err := round()
		return bfloat16(scales), err
	}}}
}
