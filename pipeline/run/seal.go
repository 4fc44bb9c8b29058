package run

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// sealFile tells a later build whether it knows the secrets that a worker was given: it can only take out of the log
// what it knows. It holds no secret, but a salted digest.
const sealFile = "secrets.json"

type seal struct {
	Salt, Sum []byte
}

func sealOf(values map[string]string, salt []byte) (seal, error) {
	text, err := json.Marshal(values) // sorted by name
	if err != nil {
		return seal{}, fmt.Errorf("sealing secrets: %w", err)
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(text)
	return seal{salt, mac.Sum(nil)}, nil
}

// writeSeal does nothing for a stage without secrets.
func (b *builder) writeSeal(ws string, st *recipe.Stage) error {
	values, err := b.secretsOf(st)
	if err != nil || len(values) == 0 {
		return err
	}
	salt := make([]byte, sha256.Size)
	_, _ = rand.Read(salt) // never fails
	s, err := sealOf(values, salt)
	if err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	if err := os.WriteFile(filepath.Join(ws, sealFile), text, 0o600); err != nil {
		return fmt.Errorf("sealing secrets: %w", err)
	}
	return nil
}

// unseal tells whether a workspace's worker has the secrets that we know, and makes the redactor know them. Secrets are
// in no key, so a recipe that names none any more leads to the same workspace.
func (b *builder) unseal(ws string, st *recipe.Stage) bool {
	values, err := b.secretsOf(st)
	if err != nil {
		return false
	}
	text, err := protocol.ReadFile(filepath.Join(ws, sealFile), maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return len(values) == 0
	}
	var was seal
	if err != nil || json.Unmarshal(text, &was) != nil {
		return false
	}
	now, err := sealOf(values, was.Salt)
	if err != nil || !hmac.Equal(now.Sum, was.Sum) {
		return false
	}
	for _, v := range values {
		b.redact.add(v)
	}
	return true
}
