package report

import "strings"

// unitWords are what the name of a metric says about its unit, which stands beside the figure anyway.
var unitWords = []string{"_bytes", "_seconds", "_ms", "_tokens_per_second", "_per_second"}

// spelled are words that are not written as they are named.
var spelled = map[string]string{
	"kl": "KL", "nll": "NLL", "top1": "top-1", "hf": "HF", "onnx": "ONNX", "rtn": "RTN", "cpu": "CPU", "gpu": "GPU",
	"nbits": "NBits",
}

// label is a metric's name for people, without the unit.
func label(name, unit string) string {
	if unit != "" && unit != "1" {
		for _, w := range unitWords {
			if i := strings.Index(name, w); i > 0 && (i+len(w) == len(name) || name[i+len(w)] == '_') {
				name = name[:i] + name[i+len(w):]
				break
			}
		}
	}
	return words(name)
}

func words(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '_' })
	for i, p := range parts {
		if s, ok := spelled[p]; ok {
			parts[i] = s
		}
	}
	return strings.Join(parts, " ")
}
