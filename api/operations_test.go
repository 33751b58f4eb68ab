package api

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys/quorum"
)

func TestTenants(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	kek, title, perSecond, atOnce := "vault/delta", "Zentrum", 2.5, 7
	created, err := h.client.CreateTenantWithResponse(ctx, NewTenant{Name: "delta", Kek: &kek, Title: &title, Limits: &Limits{RequestsPerSecond: &perSecond}})
	if err != nil || created.StatusCode() != 201 || created.HTTPResponse.Header.Get("Location") != "/api/tenants/delta" {
		t.Fatalf("%v %s", err, created.Body)
	}
	want := archive.TenantSettings{Title: "Zentrum", State: archive.TenantActive, KEK: "vault/delta", Limits: archive.TenantLimits{RequestsPerSecond: 2.5}}
	if diff := cmp.Diff(want, h.memory.Tenants["delta"].TenantSettings); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, h.do("POST", "/tenants", `{"name":"delta"}`), 409, "exists")

	// What a patch leaves out stays, inside limits too.
	changed, err := h.client.ChangeTenantWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, "delta", TenantPatch{Limits: &Limits{Concurrent: &atOnce}})
	if err != nil || changed.JSON200 == nil {
		t.Fatalf("%v %s", err, changed.Body)
	}
	want.Limits.Concurrent = 7
	if diff := cmp.Diff(want, h.memory.Tenants["delta"].TenantSettings); diff != "" {
		t.Error(diff)
	}
	if g := changed.JSON200; *g.Limits.RequestsPerSecond != 2.5 || *g.Limits.Concurrent != 7 || g.Title != "Zentrum" || !g.Changed.After(g.Created) {
		t.Errorf("%s", changed.Body)
	}

	for _, name := range []string{"delta", "delta"} { // twice is as good as once
		if s, err := h.client.SuspendTenantWithResponse(ctx, name); err != nil || s.JSON200 == nil || s.JSON200.State != Suspended {
			t.Fatalf("%v %s", err, s.Body)
		}
	}
	if s, err := h.client.ResumeTenantWithResponse(ctx, "delta"); err != nil || s.JSON200 == nil || s.JSON200.State != Active {
		t.Fatalf("%v %s", err, s.Body)
	}
	for _, call := range []string{"suspend", "resume", "keys", "keys/rotate"} {
		method := http.MethodPost
		if call == "keys" {
			method = http.MethodGet
		}
		wantProblem(t, h.do(method, "/tenants/nobody/"+call, ""), 404, "not-found")
	}
	wantProblem(t, h.do("GET", "/tenants/nobody", ""), 404, "not-found")
	wantProblem(t, h.do("PATCH", "/tenants/nobody", `{"title":"x"}`), 404, "not-found")

	// A revocation is stronger than suspend and resume.
	if r := h.do("POST", "/tenants/delta/keys/revoke", `{"confirm":"delta"}`); r.StatusCode != 404 { // memory knows no keys of it
		t.Errorf("%d", r.StatusCode)
	}
	wantProblem(t, h.do("POST", "/tenants/delta/suspend", ""), 409, "conflict")
	wantProblem(t, h.do("POST", "/tenants/delta/resume", ""), 409, "conflict")
}

func TestPages(t *testing.T) {
	h := serve(t, nil)
	var names []string
	after, limit := "", 2
	for range 3 {
		p, err := h.client.ListTenantsWithResponse(t.Context(), &ListTenantsParams{After: some(after), Limit: &limit})
		if err != nil || p.JSON200 == nil {
			t.Fatalf("%v %s", err, p.Body)
		}
		for _, x := range p.JSON200.Tenants {
			names = append(names, x.Name)
		}
		names = append(names, "|")
		if p.JSON200.Next == nil {
			break
		}
		after = *p.JSON200.Next
	}
	if got := strings.Join(names, " "); got != "alpha beta | gamma |" {
		t.Error(got)
	}
	if r := h.do("GET", "/tenants?after=gamma", ""); strings.TrimSpace(r.body) != `{"tenants":[]}` {
		t.Error(r.body)
	}

	for _, tenant := range []string{"alpha", "beta", "alpha"} {
		if r := h.do("POST", "/tenants/"+tenant+"/keys/rotate", ""); r.StatusCode != 202 {
			t.Fatal(r.body)
		}
	}
	tenant, one := "alpha", 1
	p, err := h.client.ListJobsWithResponse(t.Context(), &ListJobsParams{Tenant: &tenant, Limit: &one})
	if err != nil || p.JSON200 == nil || len(p.JSON200.Jobs) != 1 || p.JSON200.Next == nil {
		t.Fatalf("%v %s", err, p.Body)
	}
	p, err = h.client.ListJobsWithResponse(t.Context(), &ListJobsParams{Tenant: &tenant, After: p.JSON200.Next})
	if err != nil || p.JSON200 == nil || len(p.JSON200.Jobs) != 1 || p.JSON200.Next != nil || p.JSON200.Jobs[0].Id != h.memory.JobList[2].ID {
		t.Fatalf("%v %s", err, p.Body)
	}
}

func TestConfirmation(t *testing.T) {
	h := serve(t, nil)
	for _, path := range []string{"/tenants/alpha/keys/revoke", "/tenants/alpha/keys/retire", "/tenants/alpha/shred"} {
		for _, body := range []string{`{}`, `{"confirm":""}`, `{"confirm":"beta"}`, `{"confirm":"Alpha"}`, `{"Confirm":"alpha"}`, `{"confirm":"alpha "}`, `{"confirm":true}`} {
			if strings.HasSuffix(path, "shred") {
				body = strings.Replace(body, "}", `,"study":"1.2.3"}`, 1)
				body = strings.Replace(body, "{,", "{", 1)
			}
			if d := wantProblem(t, h.do("POST", path, body), 400, "invalid"); d == "" {
				t.Errorf("%s %s says nothing", path, body)
			}
		}
	}
	if h.memory.Tenants["alpha"].State != archive.TenantActive {
		t.Error("something was done without confirmation")
	}
}

func TestKeys(t *testing.T) {
	h := serve(t, nil)
	ctx := t.Context()
	k := h.memory.Keys["alpha"]
	k.Proofs = append(k.Proofs, archive.KeyProof{KEK: "hsm/alpha", Failure: archive.ProofDenied})
	k.Job = &archive.Job{ID: "01J0000000000000000000000Z", Kind: archive.JobMove, Tenant: "alpha", State: archive.JobRunning, Done: 3, Total: 13, Created: noon}
	k.Escrow = &archive.EscrowStatus{Fingerprint: "0123456789abcdef", At: noon, Objects: 12, Missing: 1, Drilled: noon.Add(time.Hour)}
	h.memory.Keys["alpha"] = k
	got, err := h.client.GetKeysWithResponse(ctx, "alpha")
	if err != nil || got.JSON200 == nil {
		t.Fatalf("%v %s", err, got.Body)
	}
	s := got.JSON200
	if s.State != Active || s.Kek != "vault/alpha" || len(s.Versions) != 2 || s.Versions[0].Objects != 9 || !s.Versions[0].Current ||
		s.Proofs[0].Outcome != Ok || *s.Proofs[0].LatencyMs != 1.5 || !s.Proofs[0].At.Equal(noon) ||
		s.Proofs[1].Outcome != Denied || s.Proofs[1].At != nil || s.Job.Done != 3 || s.Job.Kind != "move" || s.Job.Started != nil ||
		*s.Escrow.Fingerprint != "0123456789abcdef" || s.Escrow.Kek != nil || s.Escrow.Missing != 1 || s.Escrow.Drilled == nil {
		t.Errorf("%s", got.Body)
	}

	before := "2"
	if d := wantProblem(t, h.do("POST", "/tenants/alpha/keys/retire", `{"confirm":"alpha"}`), 409, "conflict"); !strings.Contains(d, "4 key objects") {
		t.Error(d)
	}
	wantProblem(t, h.do("POST", "/tenants/alpha/keys/retire", `{"confirm":"alpha","before":"7"}`), 400, "invalid")
	k.Versions[1].Objects = 0
	if r, err := h.client.RetireKeysWithResponse(ctx, "alpha", Retire{Confirm: "alpha", Before: &before}); err != nil || r.JSON200 == nil || !r.JSON200.Versions[1].Retired || r.JSON200.Versions[0].Retired {
		t.Errorf("%v %s", err, r.Body)
	}
	on := true
	r, err := h.client.RevokeKeysWithResponse(ctx, "alpha", Revoke{Confirm: "alpha", DisableKey: &on})
	if err != nil || r.JSON200 == nil || r.JSON200.State != Revoked || !h.memory.Disabled {
		t.Errorf("%v %s", err, r.Body)
	}
	g, err := h.client.GrantKeysWithResponse(ctx, "alpha", Grant{EnableKey: &on})
	if err != nil || g.JSON200 == nil || g.JSON200.State != Active || !h.memory.Enabled {
		t.Errorf("%v %s", err, g.Body)
	}
	if r := h.do("POST", "/tenants/alpha/keys/grant", ""); r.StatusCode != 200 || h.memory.Enabled {
		t.Errorf("without a body: %s", r.body)
	}
}

func TestJobsOfKeys(t *testing.T) {
	h := serve(t, nil)
	key, _, err := quorum.New(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Bytes()
	for _, tt := range []struct{ path, body, kind string }{
		{"rotate", "", "rotate"},
		{"move", `{"kek":"hsm/site\tkey"}`, ""},
		{"move", `{"kek":"hsm/site key"}`, "move"},
		{"move", `{"kek":"hsm/site-key"}`, "move"},
		{"move", `{"kek":"vault/a+hsm/b"}`, "move"},
		{"escrow", `{"kek":"hsm/recovery"}`, "escrow"},
		{"escrow", `{"publicKey":"` + base64.StdEncoding.EncodeToString(public) + `"}`, "escrow"},
	} {
		r := h.do("POST", "/tenants/alpha/keys/"+tt.path, tt.body)
		if tt.kind == "" {
			wantProblem(t, r, 400, "invalid")
			continue
		}
		if r.StatusCode != 202 {
			t.Fatalf("%s: %d %s", tt.path, r.StatusCode, r.body)
		}
		id := strings.TrimPrefix(r.Header.Get("Location"), "/api/jobs/")
		j, err := h.client.GetJobWithResponse(t.Context(), id)
		if err != nil || j.JSON200 == nil || j.JSON200.Kind != tt.kind || j.JSON200.Total != 13 || j.JSON200.Tenant != "alpha" || j.JSON200.Finished != nil {
			t.Errorf("%s: %v %s", tt.path, err, j.Body)
		}
	}
	if !bytes.Equal(h.memory.Recovery.PublicKey, public) || h.memory.Recovery.KEK != "" {
		t.Errorf("recovery: %+v", h.memory.Recovery)
	}
	wantProblem(t, h.do("GET", "/jobs/"+strings.Repeat("0", 26), ""), 404, "not-found")
}

// TestDrill: the private key is wiped when the drill is over, and it shows nowhere.
func TestDrill(t *testing.T) {
	h := serve(t, nil)
	public, shares, err := quorum.New(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := quorum.Combine(shares[:2])
	if err != nil {
		t.Fatal(err)
	}
	private, err := whole.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	publicBytes := public.Bytes()
	wantProblem(t, h.do("POST", "/tenants/alpha/keys/drill", "{}"), 409, "conflict")
	escrow, err := h.client.EscrowKeysWithResponse(t.Context(), "alpha", Escrow{PublicKey: &publicBytes})
	if err != nil || escrow.JSON202 == nil {
		t.Fatalf("%v %s", err, escrow.Body)
	}
	h.memory.FailedDrill = 1
	r, err := h.client.DrillKeysWithResponse(t.Context(), "alpha", DrillRequest{PrivateKey: &private})
	if err != nil || r.JSON200 == nil || r.JSON200.Opened != 9 || r.JSON200.Failed != 1 || h.memory.LastDrill.Sample != 100 {
		t.Fatalf("%v %s", err, r.Body)
	}
	if !bytes.Equal(h.memory.Private, private) {
		t.Error("the drill had another key")
	}
	if !bytes.Equal(h.memory.LastDrill.PrivateKey, make([]byte, 32)) {
		t.Error("the private key was not wiped")
	}
	if text := base64.StdEncoding.EncodeToString(private)[:12]; strings.Contains(h.log.String(), text) || strings.Contains(string(r.Body), text) {
		t.Error("the private key shows")
	}
	h.memory.Keys["alpha"] = archive.KeyStatus{Escrow: &archive.EscrowStatus{KEK: "hsm/recovery"}}
	if r := h.do("POST", "/tenants/alpha/keys/drill", `{"sample":0}`); r.StatusCode != 200 || h.memory.LastDrill.Sample != 0 || h.memory.LastDrill.PrivateKey != nil {
		t.Errorf("%s %+v", r.body, h.memory.LastDrill)
	}
}

func TestShred(t *testing.T) {
	h := serve(t, nil)
	for _, tt := range []struct {
		body, state string
		status      int
	}{
		{`{"confirm":"alpha","study":"1.2.3"}`, `"pending"`, 200},
		{`{"confirm":"alpha","patientId":"P1"}`, `"done"`, 200},
		{`{"confirm":"alpha","patientId":"P1","issuerOfPatientId":"X"}`, "", 404},
		{`{"confirm":"alpha","study":"1.2.4"}`, "", 404},
		{`{"confirm":"alpha"}`, "", 400},
		{`{"confirm":"alpha","study":"1.2.3","patientId":"P1"}`, "", 400},
		{`{"confirm":"alpha","study":"1.2.3","issuerOfPatientId":"X"}`, "", 400},
		{`{"confirm":"alpha","issuerOfPatientId":"X"}`, "", 400},
	} {
		r := h.do("POST", "/tenants/alpha/shred", tt.body)
		if r.StatusCode != tt.status || !strings.Contains(r.body, tt.state) {
			t.Errorf("%s: %d %s", tt.body, r.StatusCode, r.body)
		}
	}
	// The last backup's life has ended: nothing is pending any more.
	s := h.memory.Shreds[archive.ShredTarget{Study: "1.2.3"}]
	s.PendingUntil = noon.Add(-time.Second)
	h.memory.Shreds[archive.ShredTarget{Study: "1.2.3"}] = s
	if r := h.do("POST", "/tenants/alpha/shred", `{"confirm":"alpha","study":"1.2.3"}`); !strings.Contains(r.body, `"done"`) {
		t.Error(r.body)
	}
	if log := h.log.String(); strings.Contains(log, "1.2.3") || strings.Contains(log, "P1") {
		t.Error("the log tells what was shredded")
	}
}
