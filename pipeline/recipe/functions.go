package recipe

import (
	"maps"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// standard has Terraform's names and meanings. Nothing here reads a clock, a random source or the network.
var standard = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "log": stdlib.LogFunc,
	"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc,
	"signum": stdlib.SignumFunc,

	"chomp": stdlib.ChompFunc, "format": textual(narrow(stdlib.FormatFunc)), "formatlist": textual(narrow(stdlib.FormatListFunc)),
	"indent": indentFunc, "join": stdlib.JoinFunc, "lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc,
	"regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc, "replace": replaceFunc, "split": stdlib.SplitFunc,
	"strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc, "trim": stdlib.TrimFunc,
	"trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc,
	"startswith": startsWithFunc, "endswith": endsWithFunc, "strcontains": strContainsFunc,

	"alltrue": allTrueFunc, "anytrue": anyTrueFunc, "chunklist": stdlib.ChunklistFunc, "coalesce": coalesceFunc,
	"coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc,
	"contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc,
	"flatten": stdlib.FlattenFunc, "index": indexFunc, "keys": stdlib.KeysFunc, "length": lengthFunc,
	"lookup": lookupFunc, "matchkeys": matchKeysFunc, "merge": stdlib.MergeFunc, "one": oneFunc,
	"range": stdlib.RangeFunc, "reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc,
	"setproduct": stdlib.SetProductFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc,
	"slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "sum": sumFunc, "transpose": transposeFunc,
	"values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,

	"base64decode": base64DecodeFunc, "base64encode": base64EncodeFunc, "csvdecode": stdlib.CSVDecodeFunc,
	"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": textual(stdlib.JSONEncodeFunc), "sha256": sha256Func,
	"urlencode": urlEncodeFunc,

	"tobool": stdlib.MakeToFunc(cty.Bool), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
	"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tonumber": stdlib.MakeToFunc(cty.Number),
	"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String),

	"can": tryfunc.CanFunc, "try": tryfunc.TryFunc,
	"secret": secretFunc,
}

// functions are the standard ones and those that read below one folder; path() does so without some folders.
func functions(dir string, reads *reading.Log, without ...string) map[string]function.Function {
	all := maps.Clone(standard)
	all["file"] = fileFunc(dir, reads)
	all["path"] = pathFunc(dir, without, reads)
	return all
}

// absent explains functions that Terraform has and a recipe cannot have.
var absent = map[string]string{
	"timestamp": clockless, "plantimestamp": clockless, "timeadd": clockless, "formatdate": clockless, "timecmp": clockless,
	"uuid": clockless, "bcrypt": clockless,
	"templatefile": "Build the text with a template in the recipe, or read it with file().",
	"fileset":      "path(\"dir/**\") gives files to a port.",
	"pathexpand":   "Files are read only below the recipe's folder.", "abspath": "Files are read only below the recipe's folder.",
	"env": "An environment variable sets a recipe variable as TINFRA_VAR_name; secret(\"NAME\") is for secrets.",
}

const clockless = "No function reads a clock or a random source: a recipe means the same whenever it is loaded."
