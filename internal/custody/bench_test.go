package custody

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/keys/localkeys"
	"github.com/strata-pacs/strata/internal/keys/providers"
	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/filestore"
)

// BenchmarkRewrap says how many key objects a second are wrapped anew on a local
// disk, and how many are looked at when there is nothing to do.
func BenchmarkRewrap(b *testing.B) {
	const objects = 500
	for _, provider := range []string{"local", "vault"} {
		var setting string
		switch provider {
		case "local":
			path := filepath.Join(b.TempDir(), "key")
			if err := localkeys.Create(path, nil); err != nil {
				b.Fatal(err)
			}
			setting = "local:" + url.PathEscape(path)
		case "vault":
			v, token := testservers.Vault(b), filepath.Join(b.TempDir(), "token")
			v.Write(b, "transit/keys/clinic", nil)
			if err := os.WriteFile(token, []byte(v.Token), 0o600); err != nil {
				b.Fatal(err)
			}
			setting = "vault:" + v.Address + "/transit/clinic?auth=token&token-file=" + token
		}
		set, err := providers.Open(b.Context(), map[string]string{provider: setting})
		if err != nil {
			b.Fatal(err)
		}
		defer set.Close()
		kek, err := set.KEK(provider)
		if err != nil {
			b.Fatal(err)
		}
		fs, err := filestore.New(b.TempDir(), filestore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		bucket := storage.New(fs)
		r, err := keys.Open(b.Context(), keys.Options{Bucket: bucket, Wrapper: set, KEK: kek, Tenant: "a"})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		known{}.add(b, r, objects-1)
		run := func(b *testing.B) {
			if _, err := keys.Rewrap(b.Context(), keys.RewrapOptions{Bucket: bucket, Wrapper: set, Tenant: "a", KEK: kek}); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(provider+"/anew", func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				if _, err := keys.Rotate(b.Context(), set, kek); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				run(b)
			}
			b.ReportMetric(float64(objects*b.N)/b.Elapsed().Seconds(), "objects/s")
		})
		b.Run(provider+"/current", func(b *testing.B) {
			for range b.N {
				run(b)
			}
			b.ReportMetric(float64(objects*b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
