package main

import (
	"strings"
)

// canonical writes an instance's address as recipes do. A shell eats quotes, so gptq.int4[g128] is taken for
// gptq.int4["g128"].
func canonical(address string) string {
	open := strings.IndexByte(address, '[')
	end := strings.LastIndexByte(address, ']')
	if open < 0 || end < open {
		return address
	}
	key := strings.Trim(address[open+1:end], `"'`)
	return address[:open] + `["` + key + `"]` + address[end+1:]
}

// splitPort parts "kind.name.port" and `kind.name["key"].port`. The port is "" where none is named.
func splitPort(s string) (address, port string) {
	s = canonical(s)
	rest := 0
	if end := strings.LastIndexByte(s, ']'); end >= 0 {
		rest = end
	} else if dot := strings.IndexByte(s, '.'); dot >= 0 {
		rest = dot + 1
	}
	if dot := strings.IndexByte(s[rest:], '.'); dot >= 0 {
		return s[:rest+dot], s[rest+dot+1:]
	}
	return s, ""
}
