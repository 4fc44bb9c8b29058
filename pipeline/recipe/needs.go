package recipe

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// gpuRange reads 1, "1" or "0-1".
func gpuRange(v cty.Value) (low, high int, ok bool) {
	const most = 1024
	if v.Type() == cty.Number {
		n, exact := v.AsBigFloat().Int64()
		return int(n), int(n), exact == big.Exact && n >= 0 && n <= most
	}
	if v.Type() != cty.String {
		return 0, 0, false
	}
	from, to, isRange := strings.Cut(v.AsString(), "-")
	if !isRange {
		to = from
	}
	low, err := strconv.Atoi(from)
	high, err2 := strconv.Atoi(to)
	return low, high, err == nil && err2 == nil && low >= 0 && low <= high && high <= most
}
