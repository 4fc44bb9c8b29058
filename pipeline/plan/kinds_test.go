package plan_test

import "testing/fstest"

// handMade is a catalogue that uses everything a stage.hcl can say that reaches an Action.
func handMade() fstest.MapFS {
	return fstest.MapFS{
		"env/tools/env.hcl": {Data: []byte("python = [\"3.13\"]\n")},
		"fetch/worker.py":   {Data: []byte("print('fetch')\n")},
		"fetch/stage.hcl": {Data: []byte(`
kind        = "fetch"
doc         = "Fetches."
env         = "tools"
determinism = "exact"
network     = true
param "source" {
  type   = string
  source = true
  doc    = "From where."
}
param "unpack" {
  type    = bool
  default = false
  doc     = "Whether to unpack."
}
output "files" {
  type   = "files"
  pinned = true
  doc    = "What came."
}
`)},
		"shape/worker.py":  {Data: []byte("print('shape')\n")},
		"shape/lib/one.py": {Data: []byte("ONE = 1\n")},
		"common/two.py":    {Data: []byte("TWO = 2\n")},
		"shape/stage.hcl": {Data: []byte(`
kind        = "shape"
doc         = "Shapes."
env         = "tools"
determinism = "statistical"
facts       = ["gpu.arch"]
uses        = ["common"]
needs {
  memory_gib = 4
}
param "bits" {
  type    = number
  default = 4
  one_of  = [2, 3, 4, 8]
  integer = true
  doc     = "Bits."
}
param "damp" {
  type    = number
  default = 0.01
  min     = 0
  max     = 1
  doc     = "Dampening."
}
param "name" {
  type    = string
  pattern = "[a-zé]+"
  doc     = "A name."
}
param "ignore" {
  type    = list(string)
  default = []
  doc     = "Layers left out, in order."
}
param "tags" {
  type    = set(string)
  default = ["x"]
  doc     = "Tags."
}
param "scales" {
  type    = map(number)
  default = {}
  doc     = "Scales by layer."
}
param "grid" {
  type    = object({ rows = number, cols = number, label = string })
  default = { rows = 2, cols = 3, label = "l" }
  doc     = "A grid."
}
param "limit" {
  type     = number
  optional = true
  doc      = "A limit."
}
param "fast" {
  type    = bool
  default = true
  doc     = "Fast."
}
secret "token" {
  env = "TOKEN"
  doc = "A token."
}
input "model" {
  type = "model/hf"
  doc  = "A model."
}
input "text" {
  types    = ["files", "dataset/text"]
  optional = true
  doc      = "Text."
}
input "parts" {
  type     = "*"
  map      = true
  optional = true
  doc      = "More."
}
output "model" {
  type = "model/hf"
  doc  = "The model."
}
output "notes" {
  type     = "files"
  optional = true
  doc      = "Notes."
}
metric "ppl" {
  doc    = "Perplexity."
  better = "lower"
}
`)},
		"count/count.sh": {Data: []byte("#!/bin/sh\nwc \"$@\"\n")},
		"count/stage.hcl": {Data: []byte(`
kind        = "count"
doc         = "Counts."
determinism = "exact"
command     = ["{dir}/count.sh", "-l"]
input "text" {
  type = "files"
  doc  = "Text."
}
output "table" {
  type = "files"
  doc  = "Counts."
}
`)},
		"score/worker.py": {Data: []byte("print('score')\n")},
		"score/stage.hcl": {Data: []byte(`
kind        = "score"
doc         = "Measures."
env         = "tools"
determinism = "measured"
facts       = ["cpu.model", "gpu.arch"]
input "model" {
  type = "model/hf"
  doc  = "A model."
}
output "result" {
  type = "result"
  doc  = "Numbers."
}
metric "tokens_per_second" {
  doc = "Speed."
}
`)},
		"env/gpu/env.hcl": {Data: []byte("python = [\"3.13\"]\n")},
		"weigh/worker.py": {Data: []byte("print('weigh')\n")},
		"weigh/stage.hcl": {Data: []byte(`
kind        = "weigh"
doc         = "Weighs a model or an engine."
env         = "tools"
determinism = "exact"
input "model" {
  types = ["engine/x", "model/hf", "files"]
  envs  = { "engine/x" = "gpu" }
  doc   = "What to weigh."
}
input "beside" {
  types    = ["model/hf", "engine/x", "model/y"]
  envs     = { "engine/x" = "gpu", "model/y" = "other" }
  map      = true
  optional = true
  doc      = "More."
}
output "result" {
  type = "result"
  doc  = "Numbers."
}
`)},
		"env/other/env.hcl": {Data: []byte("python = [\"3.13\"]\n")},
		"exec/stage.hcl":    {Data: []byte(execKind("exec"))},
	}
}

func execKind(name string) string {
	return `
kind        = "` + name + `"
doc         = "Runs a program."
determinism = "exact"
native      = true
param "command" {
  type = list(string)
  doc  = "Program and arguments."
}
param "env" {
  type    = set(string)
  default = []
  environ = true
  doc     = "Environment variables to pass."
}
input "inputs" {
  type     = "*"
  map      = true
  optional = true
  doc      = "Inputs."
}
output "files" {
  type = "files"
  doc  = "What it wrote."
}
`
}

// makeKind makes one artifact of a type out of nothing.
func makeKind(name, typ string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(`
kind        = "` + name + `"
doc         = "Makes."
determinism = "exact"
command     = ["make-it"]
param "seed" {
  type    = number
  default = 0
  doc     = "Seed."
}
output "out" {
  type = "` + typ + `"
  doc  = "What it makes."
}
`)}
}
