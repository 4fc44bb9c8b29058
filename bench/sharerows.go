package main

import (
	"errors"
	"fmt"
	"path/filepath"
)

// shareRows bring models to an empty bucket that have most of their tensors in common.
func shareRows(b *bench) []row {
	size, variant := int64(b.scaled(1024))<<20, int64(b.scaled(256))<<20
	const variants = 10
	pair := func(from func(b *bench) (origin, error)) cargo {
		return models(2, 2*size, func(dir string, s origin) error { return writePair(dir, size, s) }, from)
	}
	some := func(n int) cargo {
		return models(n, int64(n)*variant, func(dir string, s origin) error { return writeVariants(dir, n, variant, s) }, trained)
	}
	of := fmt.Sprintf("2 × %d MiB, safetensors in bf16", size>>20)
	return []row{
		{Name: "share, models", Doc: "two models, one the other with every twentieth tensor changed and one inserted: SmolLM2's layers over and over, each time with other last bits",
			Size: of, Rounds: 3, Disk: 8 * size, Entries: func(b *bench, dir string) []entry { return pair(trained).shared(b, dir) },
			Aims: []aim{storedLess("hf_xet"), storedLess("restic"), noMoreCPU("hf_xet"), memoryBelow(256)}},
		{Name: "share, Gaussian", Doc: "the same with numbers at random, which have the least in common", Size: of, Rounds: 3, Disk: 8 * size,
			Entries: func(b *bench, dir string) []entry { return pair(atRandom).shared(b, dir) }, Aims: []aim{storedBelow(int64(b.scaled(850)) << 20), memoryBelow(256)}},
		{Name: "share, variants", Doc: "one model in ten mixtures of precisions: each layer in 16, 8 or 4 bits", Size: fmt.Sprintf("%d × up to %d MiB, safetensors", variants, variant>>20), Rounds: 3,
			Disk: 24 * variant, Aims: []aim{storedWithin(2.5, oneVariant), memoryBelow(256)},
			Entries: func(b *bench, dir string) []entry {
				one := some(1).pushed(b, filepath.Join(dir, "one"), false, "tinfra")[0]
				one.Tool, one.Own = oneVariant, true
				return append(some(variants).shared(b, dir), one)
			}},
	}
}

// oneVariant is the model in 16 bits, brought alone.
const oneVariant = "the model alone"

func trained(b *bench) (origin, error) {
	m, err := b.smolLM2()
	if err != nil {
		return nil, err
	}
	return m.numbers, nil
}

func atRandom(*bench) (origin, error) { return gaussian, nil }

// models are so many, each in a folder of its own.
func models(n int, bytes int64, write func(dir string, s origin) error, from func(b *bench) (origin, error)) cargo {
	c := cargo{bytes: bytes, write: func(b *bench, dir string) error {
		s, err := from(b)
		if err != nil {
			return err
		}
		return write(dir, s)
	}}
	for i := range n {
		c.folders = append(c.folders, modelFolder(i))
	}
	return c
}

// shared is who stores what files have in common once. hf_xet has no server that a machine could have: it stores in a folder as it would
// there.
func (c cargo) shared(b *bench, dir string) []entry {
	at := filepath.Join(dir, "hf_xet")
	argv := []string{b.tools.tool("hf_xet"), filepath.Join(b.workshop.dir, "xet.py"), "store"}
	for i := range c.folders {
		argv = append(argv, modelPath(filepath.Join("..", beside), i))
	}
	return append(c.pushed(b, dir, false, "tinfra", "restic"), entry{Tool: "hf_xet", Dir: at, Argv: argv, Environ: []string{"HF_HUB_DISABLE_TELEMETRY=1"},
		Begin: func(e entry) error {
			script, err := locks.ReadFile("peers/xet.py")
			return errors.Join(err, writeFile(e.Argv[1], string(script)), c.lay(b, dir))
		},
		Before: func(e entry, _ int) error {
			b.endServer()
			err := fresh(e.Dir)
			settled()
			return err
		},
		Count: func(e entry, s *sample) error {
			for _, kind := range []string{"xorbs", "shards"} {
				size, err := sizeOf(filepath.Join(e.Dir, "store", "xet", "xorbs", kind, "*"))
				if err != nil {
					return err
				}
				s.Stored += size
			}
			if s.Stored == 0 {
				return errors.New("hf_xet has stored nothing")
			}
			return nil
		}})
}
