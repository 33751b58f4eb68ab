//go:build linux

package stacktest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const versitygw = "versitygw-v1.8.0"

// Buckets of the S3 server: wrapped keys lie apart, where no version and no lock
// would keep what is to be destroyed.
const (
	ObjectBucket = "strata-objects"
	KeyBucket    = "strata-keys"
)

// Region is what the S3 server calls its own.
const Region = "us-east-1"

// S3 is an S3 server over a folder. Stop waits for its clients; Kill does not.
type S3 struct {
	*Process
	Endpoint    string // URL
	Key, Secret string // credentials that may do everything
	Folder      string // its data: a folder for each bucket
	program     string
}

func newS3(dir, log string, port int, s *secrets) (*S3, error) {
	program, err := built(versitygw)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	g := &S3{Endpoint: "http://" + addr, Key: s.S3Key, Secret: s.S3Secret, Folder: filepath.Join(dir, "data"), program: program}
	const health = "/-/health" // no bucket has such a name
	g.Process = &Process{name: "s3", log: log, ending: syscall.SIGTERM,
		command: func() *exec.Cmd {
			cmd := exec.Command(program, "--port", addr, "--region", Region, "--health", health, "--keep-alive", "--quiet", "posix", g.Folder)
			cmd.Env = []string{"ROOT_ACCESS_KEY=" + g.Key, "ROOT_SECRET_KEY=" + g.Secret}
			return cmd
		},
		ready: func(ctx context.Context) error { return ask(ctx, g.Endpoint+health) },
	}
	return g, os.MkdirAll(g.Folder, 0o700)
}

// open starts the server and makes the buckets.
func (g *S3) open(ctx context.Context) error {
	if err := g.Start(ctx); err != nil {
		return err
	}
	for _, bucket := range []string{ObjectBucket, KeyBucket} {
		cmd := exec.CommandContext(ctx, g.program, "admin", "--endpoint-url", g.Endpoint, "create-bucket", "--owner", g.Key, "--bucket", bucket)
		cmd.Env = []string{"ADMIN_ACCESS_KEY=" + g.Key, "ADMIN_SECRET_KEY=" + g.Secret, "ADMIN_REGION=" + Region}
		if out, err := output(cmd); err != nil && !strings.Contains(out, "BucketAlreadyOwnedByYou") {
			return fmt.Errorf("making the bucket %s: %w", bucket, err)
		}
	}
	return nil
}
