package plan

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/stages"
)

// jsonType is the media type of the small JSON blobs that an Action refers to.
const jsonType = "application/json"

// parts is what every stage of a kind shares: its worker and its environment.
type parts struct {
	worker   artifacts.Digest
	path     string // native: where the program stands
	env      artifacts.Digest
	supports []Support
}

// partsOf describes a kind once a plan, however many stages are of it.
func (p *planner) partsOf(ctx context.Context, k *stages.Kind) (*parts, error) {
	if got, ok := p.kinds[k]; ok {
		return got, nil
	}
	out := &parts{}
	if !k.Native {
		if err := out.addTree(k, p.options.Catalog); err != nil {
			return nil, fmt.Errorf("reading the worker of kind %s: %w", k.Name, err)
		}
	}
	if k.Env != "" {
		blob, err := p.options.Envs.Blob(ctx, k.Env)
		if err != nil {
			return nil, fmt.Errorf("describing environment %s of kind %s: %w", k.Env, k.Name, err)
		}
		out.env = artifacts.Sum(blob)
		out.supports = append(out.supports, bytesSupport(jsonType, blob))
	}
	p.kinds[k] = out
	return out, nil
}

func (o *parts) addTree(k *stages.Kind, c *stages.Catalog) error {
	tree, err := k.Tree(c.SDK)
	if err != nil {
		return err
	}
	for _, f := range tree.Manifest.Files {
		o.supports = append(o.supports, Support{
			Name: f.Path,
			Blob: f.Blob,
			Open: func() (io.ReadCloser, error) { return tree.Open(f.Path) },
		})
	}
	manifest, digest, err := manifestSupport(tree.Manifest)
	if err != nil {
		return err
	}
	o.worker = digest
	o.supports = append(o.supports, manifest)
	return nil
}

// native is the shared parts of a native kind with one stage's program in them.
func (o *parts) native(prog *program) *parts {
	out := *o
	out.worker, out.path = artifacts.Sum(prog.blob), prog.path
	out.supports = append(out.supports[:len(out.supports):len(out.supports)], bytesSupport(jsonType, prog.blob))
	return &out
}

func bytesSupport(media string, b []byte) Support {
	return Support{
		Blob: artifacts.Blob{MediaType: media, Digest: artifacts.Sum(b), Size: int64(len(b))},
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

func manifestSupport(m *artifacts.Manifest) (Support, artifacts.Digest, error) {
	b, d, err := m.Encode()
	if err != nil {
		return Support{}, d, err
	}
	return bytesSupport(artifacts.ManifestMediaType, b), d, nil
}
