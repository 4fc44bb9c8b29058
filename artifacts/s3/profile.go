package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"
)

// errHung ends what gives credentials and does not. The SDKs of AWS wait as long for a credential_process.
var errHung = fmt.Errorf("no answer for %v", fetchPatience)

// leaving is how long a process that was killed may keep its output open by those that have left its group.
const leaving = time.Second

// profileFiles are the credentials of a profile in ~/.aws. minio-go reads it, but for a credential_process, which it would wait for without
// an end.
type profileFiles struct {
	credentials.FileAWSCredentials
	name string
}

// RetrieveWithCredContext runs the profile's program, where it has one and nothing that goes before it, or reads its keys.
func (p *profileFiles) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	command := p.process()
	if command == "" {
		return p.FileAWSCredentials.RetrieveWithCredContext(cc)
	}
	return runProcess(cc.Context, command)
}

// process is the credential_process; "" also where a file cannot be read, which minio-go then tells.
func (p *profileFiles) process() string {
	dir, _ := os.UserHomeDir() // where there is none, nothing is found either
	merged := map[string]string{}
	for _, file := range []struct{ variable, name, section string }{
		{"AWS_CONFIG_FILE", "config", "profile " + p.name},
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials", p.name},
	} {
		path := os.Getenv(file.variable)
		if path == "" {
			path = filepath.Join(dir, ".aws", file.name)
		}
		f, err := ini.Load(path)
		if err != nil {
			continue
		}
		for _, section := range []string{file.section, p.name} { // [default] has no word before it
			if section == p.name && section != file.section && p.name != "default" || !f.HasSection(section) {
				continue
			}
			for key, value := range f.Section(section).KeysHash() {
				merged[key] = value
			}
		}
	}
	if merged["aws_access_key_id"] != "" || merged["aws_secret_access_key"] != "" || merged["sso_role_name"] != "" {
		return ""
	}
	return merged["credential_process"]
}

// runProcess runs a program until ctx ends, and reads the keys that it writes. The shell takes its line apart, as the SDKs of AWS let it.
func runProcess(ctx context.Context, command string) (credentials.Value, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the shell starts ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = leaving
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return credentials.Value{}, &processError{context.Cause(ctx)}
	}
	if err != nil {
		return credentials.Value{}, &processError{err}
	}
	var keys struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      time.Time
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&keys); err != nil {
		return credentials.Value{}, &processError{errors.New("what it writes cannot be read")} // a parser would quote it
	}
	return credentials.Value{
		AccessKeyID: keys.AccessKeyID, SecretAccessKey: keys.SecretAccessKey, SessionToken: keys.SessionToken, Expiration: keys.Expiration,
		SignerType: credentials.SignatureV4,
	}, nil
}

// processError is of a credential_process. Nothing in it is what the program has written.
type processError struct{ err error }

func (p *processError) Error() string {
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		if exit.ExitCode() == shellFoundNone {
			return "the program of credential_process is not there"
		}
		return "credential_process failed: " + exit.ProcessState.String()
	}
	return "credential_process: " + p.err.Error()
}

func (p *processError) Unwrap() error { return p.err }

const shellFoundNone = 127 // exit status
