package mem_test

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Place { return mem.New() })
}
