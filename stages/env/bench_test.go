package env

import (
	"os"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func BenchmarkNormalise(b *testing.B) {
	text, err := os.ReadFile("torch/requirements.lock")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := normalise(string(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDescribe(b *testing.B) {
	text, err := os.ReadFile("torch/requirements.lock")
	if err != nil {
		b.Fatal(err)
	}
	lock, err := normalise(string(text))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := artifacts.JCS(description{Lock: lock}); err != nil {
			b.Fatal(err)
		}
	}
}
