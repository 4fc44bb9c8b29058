package plan

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// jsonType is the media type of the small JSON blobs that an Action refers to.
const jsonType = "application/json"

// kindEnv is a kind of stage in one of its environments.
type kindEnv struct {
	kind *stages.Kind
	env  string // "" for none
}

// parts is what every stage of a kind that runs in one environment shares: its worker and that.
type parts struct {
	worker   artifacts.Digest
	path     string // native: where the program stands
	env      artifacts.Digest
	supports []Support
}

// partsOf describes a kind in an environment once a plan, however many stages are of it.
func (p *planner) partsOf(ctx context.Context, st *recipe.Stage) (*parts, error) {
	k := st.Kind
	name, err := st.Env()
	if err != nil { // loading the recipe has refused it
		return nil, fmt.Errorf("%s: %w", st.Address, err)
	}
	if got, ok := p.kinds[kindEnv{k, name}]; ok {
		return got, nil
	}
	out := &parts{}
	if !k.Native {
		if err := out.addTree(k, p.options.Catalog); err != nil {
			return nil, fmt.Errorf("reading the worker of kind %s: %w", k.Name, err)
		}
	}
	if name != "" {
		blob, err := p.options.Envs.Blob(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("describing environment %s of kind %s: %w", name, k.Name, err)
		}
		out.env = artifacts.Sum(blob)
		out.supports = append(out.supports, bytesSupport(jsonType, blob))
	}
	p.kinds[kindEnv{k, name}] = out
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
