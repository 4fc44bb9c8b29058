package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// NoGPU tells a person why this machine's facts have no GPU: "" where it has no nvidia-smi, so no driver, or that shows none.
func NoGPU(ctx context.Context) string {
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--list-gpus")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("nvidia-smi did not answer in %.0f s, as where a driver is broken", probeTimeout.Seconds())
	case err != nil:
		return "nvidia-smi fails: " + cmp.Or(said, err.Error())
	case strings.HasPrefix(said, "GPU ") && set:
		return fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q leaves none of those that nvidia-smi shows", visible)
	case strings.HasPrefix(said, "GPU "):
		return "nvidia-smi shows some, but does not answer what is asked of it; its driver may be too old"
	}
	return ""
}
