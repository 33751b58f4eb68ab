// Package kmskeys keeps key-encryption keys in AWS KMS. A KEK is a symmetric
// key, named by its key id or its ARN, in one region; a multi-region key is
// best named by its id, which is the same in every region. An alias is not
// taken, because it can be pointed at another key.
//
// KMS rotates a key's material itself and unwraps under the old one for ever, so
// that a KEK has one version here. To leave old material behind, move the tenant to a new key.
//
// The encryption context binds associated data. CloudTrail logs it in clear, so
// it holds a hash. The policy that Strata needs is kms:Encrypt and kms:Decrypt,
// and kms:DescribeKey for Describe and Check.
//
// The tests of this package run against a stub of KMS that is written for them,
// not against AWS.
package kmskeys

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Options say which KMS. Credentials come from where AWS's own tools look for
// them: environment, shared files, web identity, container, instance.
type Options struct {
	Region   string // empty: from the environment or the profile
	Endpoint string // another address of KMS, such as a VPC endpoint's; empty: the region's
	Profile  string // of the shared files; empty: the default one
	// AdminProfile is the profile whose credential disables and enables keys;
	// empty: they cannot be disabled from here.
	AdminProfile string
	Timeout      time.Duration // of a call; default 1 s
}

// KMS is a [keys.Wrapper] whose KEK IDs are key ids or ARNs.
type KMS struct {
	timeout time.Duration
	use     *kms.Client
	admin   *kms.Client // nil without a profile for it
}

var _ interface {
	keys.Wrapper
	keys.Describer
	keys.Switch
	keys.Checker
} = (*KMS)(nil)

// Open reads the configuration of AWS. It does not need KMS to answer. Errors are
// fault.Invalid and name the setting.
func Open(ctx context.Context, o Options) (*KMS, error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return nil, fault.New(fault.Invalid, "the endpoint of AWS KMS is a URL such as https://kms.eu-central-1.amazonaws.com")
	}
	k := &KMS{timeout: o.Timeout}
	var err error
	if k.use, err = newClient(ctx, o, o.Profile); err != nil {
		return nil, err
	}
	if o.AdminProfile != "" {
		if k.admin, err = newClient(ctx, o, o.AdminProfile); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func newClient(ctx context.Context, o Options, profile string) (*kms.Client, error) {
	with := []func(*config.LoadOptions) error{config.WithRetryMaxAttempts(1)} // who asks again is who waits for it
	if o.Region != "" {
		with = append(with, config.WithRegion(o.Region))
	}
	if profile != "" {
		with = append(with, config.WithSharedConfigProfile(profile))
	}
	c, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the configuration of AWS cannot be read; check profile and region")
	}
	if c.Region == "" {
		return nil, fault.New(fault.Invalid, "AWS KMS needs a region")
	}
	return kms.NewFromConfig(c, func(k *kms.Options) {
		if o.Endpoint != "" {
			k.BaseEndpoint = aws.String(o.Endpoint)
		}
	}), nil
}

// Version is the version of every KEK.
const Version = "1"

const (
	maxKey     = 4096 // bytes that KMS encrypts
	maxWrapped = 6144 // bytes that it decrypts
)

// keyName is a key id, of one region or of several, or an ARN of a key.
var keyName = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/)?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)

// CheckName reports, with fault.KeyDenied, a name that is not one of a key in KMS.
func CheckName(kek keys.ID) error {
	if !keyName.MatchString(string(kek)) {
		return fault.New(fault.KeyDenied, "a key in AWS KMS is named by its key id or its ARN, not by an alias or otherwise")
	}
	return nil
}

// encryptionContext carries associated data as a hash, because it is logged.
func encryptionContext(aad []byte) map[string]string {
	sum := sha256.Sum256(append([]byte("strata-kms v1\x00"), aad...))
	return map[string]string{"strata": base64.StdEncoding.EncodeToString(sum[:])}
}

// Wrap implements [keys.Wrapper].
func (k *KMS) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	if len(key) == 0 || len(key) > maxKey {
		return keys.Wrapped{}, fault.New(fault.Invalid, "a key to wrap has 1 to %d bytes", maxKey)
	}
	var out *kms.EncryptOutput
	err := k.call(ctx, kek, "wrapping a key", func(ctx context.Context) (err error) {
		out, err = k.use.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(string(kek)), Plaintext: key, EncryptionContext: encryptionContext(aad)})
		return err
	})
	if err != nil {
		return keys.Wrapped{}, err
	}
	if len(out.CiphertextBlob) == 0 {
		return keys.Wrapped{}, errAnswer
	}
	return keys.Wrapped{KEK: kek, Version: Version, Bytes: out.CiphertextBlob}, nil
}

// Unwrap implements [keys.Wrapper].
func (k *KMS) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	if w.Version != Version {
		return nil, fault.New(fault.KeyDenied, "a key was wrapped under a version that AWS KMS has not; it was wrapped by another provider")
	}
	if len(w.Bytes) == 0 || len(w.Bytes) > maxWrapped {
		return nil, fault.New(fault.Corrupt, damaged)
	}
	var out *kms.DecryptOutput
	err := k.call(ctx, w.KEK, "unwrapping a key", func(ctx context.Context) (err error) {
		out, err = k.use.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(string(w.KEK)), CiphertextBlob: w.Bytes, EncryptionContext: encryptionContext(aad)})
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out.Plaintext) == 0 {
		return nil, errAnswer
	}
	return out.Plaintext, nil
}

// Describe implements [keys.Describer].
func (k *KMS) Describe(ctx context.Context, kek keys.ID) (keys.Description, error) {
	var out *kms.DescribeKeyOutput
	err := k.call(ctx, kek, "reading about a key", func(ctx context.Context) (err error) {
		out, err = k.use.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(string(kek))})
		return err
	})
	if err != nil {
		return keys.Description{}, err
	}
	d := keys.Description{Provider: "awskms", Newest: Version}
	if m := out.KeyMetadata; m != nil && m.KeyState == types.KeyStateEnabled {
		d.Versions = []keys.VersionInfo{{Version: Version, Created: aws.ToTime(m.CreationDate)}}
	}
	return d, nil
}

// Check implements [keys.Checker].
func (k *KMS) Check(ctx context.Context, kek keys.ID) error {
	_, err := k.Describe(ctx, kek)
	return err
}

var errNoAdmin = fault.Wrap(fault.Invalid, errors.ErrUnsupported, "disabling a key in AWS KMS needs a credential of its own; give one by admin-profile")

// Disable implements [keys.Switch]. KMS may take some seconds to apply it everywhere.
func (k *KMS) Disable(ctx context.Context, kek keys.ID) error {
	if k.admin == nil {
		return errNoAdmin
	}
	return k.call(ctx, kek, "disabling a key", func(ctx context.Context) error {
		_, err := k.admin.DisableKey(ctx, &kms.DisableKeyInput{KeyId: aws.String(string(kek))})
		return err
	})
}

// Enable implements [keys.Switch].
func (k *KMS) Enable(ctx context.Context, kek keys.ID) error {
	if k.admin == nil {
		return errNoAdmin
	}
	return k.call(ctx, kek, "enabling a key", func(ctx context.Context) error {
		_, err := k.admin.EnableKey(ctx, &kms.EnableKeyInput{KeyId: aws.String(string(kek))})
		return err
	})
}

// call makes a call within the timeout.
func (k *KMS) call(ctx context.Context, kek keys.ID, what string, do func(context.Context) error) error {
	if err := CheckName(kek); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return classify(ctx, do(within), what)
}
