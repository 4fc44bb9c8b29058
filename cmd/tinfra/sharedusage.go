package main

import (
	"context"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// tierJSON is what one tier of the shared cache holds. Bytes are stored ones, but for those of files.
type tierJSON struct {
	Place      string `json:"place"`
	Objects    int64  `json:"objects"`
	Bytes      int64  `json:"bytes"`
	Packs      int64  `json:"packs"`
	PackBytes  int64  `json:"packBytes"`
	Blobs      int64  `json:"blobs"`
	BlobBytes  int64  `json:"blobBytes"`
	Trees      int64  `json:"trees"` // each has a map
	MapBytes   int64  `json:"mapBytes"`
	Pointers   int64  `json:"pointers"`
	Files      int64  `json:"files"`
	FileBytes  int64  `json:"fileBytes"` // as if each tree were stored by itself
	Shared     int64  `json:"sharedBytes"`
	Compressed int64  `json:"compressedBytes"`
	Unnamed    int64  `json:"unnamedBytes"`
	Damaged    int64  `json:"damagedMaps"`
}

// sharedUsage is what the shared cache holds, and how many requests it took to know.
type sharedUsage struct {
	Tiers    []tierJSON `json:"tiers"`
	Requests int64      `json:"requests"`
}

// sharedUsage is nil where there is no shared cache.
func (h *house) sharedUsage(ctx context.Context) (*sharedUsage, error) {
	if err := h.join(ctx, false); err != nil || h.remote == nil {
		return nil, err
	}
	line := h.app.passing()
	line.say("measuring the shared cache")
	all, err := h.remote.Usage(ctx)
	line.end()
	if err != nil {
		return nil, h.remoteTrouble(ctx, err)
	}
	u := &sharedUsage{Requests: h.client.Requests()}
	for _, tier := range all {
		u.Tiers = append(u.Tiers, tierOf(tier))
	}
	return u, nil
}

func tierOf(u *shared.Usage) tierJSON {
	return tierJSON{
		Place: u.Place, Objects: u.All.Objects, Bytes: u.All.Bytes,
		Packs: u.Packs.Objects, PackBytes: u.Packs.Bytes, Blobs: u.Blobs.Objects, BlobBytes: u.Blobs.Bytes,
		Trees: u.Maps.Objects, MapBytes: u.Maps.Bytes, Pointers: u.Pointers.Objects,
		Files: u.Files.Objects, FileBytes: u.Files.Bytes,
		Shared: u.Shared(), Compressed: u.Compressed(), Unnamed: u.Unnamed(), Damaged: u.Damaged,
	}
}

func (u *sharedUsage) write(w io.Writer) {
	for _, t := range u.Tiers {
		fmt.Fprintf(w, "\nshared cache  %s\nobjects       %d, %s\nfiles         %d in %s, %s\npacks         %d, %s\nblobs         %d, %s\n",
			t.Place, t.Objects, view.Bytes(t.Bytes), t.Files, view.Count(int(t.Trees), "tree"), view.Bytes(t.FileBytes),
			t.Packs, view.Bytes(t.PackBytes), t.Blobs, view.Bytes(t.BlobBytes))
		fmt.Fprintf(w, "saved         %s by sharing, %s by compression\n", view.Bytes(t.Shared), view.Bytes(t.Compressed))
		if t.Unnamed > 0 {
			fmt.Fprintf(w, "unused        %s of packs, of which no map says anything\n", view.Bytes(t.Unnamed))
		}
		if t.Damaged > 0 {
			fmt.Fprintf(w, "damaged       %s\n", view.Count(int(t.Damaged), "map"))
		}
	}
	if len(u.Tiers) > 0 {
		fmt.Fprintf(w, "requests      %d, to find this out\n", u.Requests)
	}
}
