// Package api is the administration of Strata over HTTP: tenants, their keys,
// shredding, jobs. The contract is openapi.yaml, written first; server.gen.go
// and client.gen.go are generated from it (go generate ./api), and a test fails
// when they are older than the contract.
//
// [New] returns the handler. Each request is authorised, checked against the
// contract, and passed to one of the small interfaces of [Options] by a handler
// that only translates. Errors become problem documents (RFC 9457) by their
// [fault.Kind], as those of DICOMweb do. Who asks, where that matters, is what [Options.Person] says.
//
// No byte of a key leaves through this package, wrapped or not. What cannot be
// taken back wants the tenant's name in the request's body once more, so that a
// slip in a path destroys nothing. Nothing that is logged holds a UID or anything of a patient, and
// nothing of a patient is answered; studies are named by their UIDs where an answer is about them.
//
// [Client], with [NewClientWithResponses], is the other side; the command line
// uses it.
package api

//go:generate go tool oapi-codegen -config server.cfg.yaml -o server.gen.go openapi.yaml
//go:generate go tool oapi-codegen -config client.cfg.yaml -o client.gen.go openapi.yaml

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Root is the path of the API below the server's URL.
const Root = "/api"

// Options says what is administered. Every interface must be set.
type Options struct {
	Tenants  Tenants
	Keys     Keys
	Rewraps  Rewraps
	Escrows  Escrows
	Shredder Shredder
	Jobs     Jobs
	// Retention keeps, Rewinder brings back.
	Retention Retention
	Rewinder  Rewinder
	// Lifecycle carries out lifecycle rules.
	Lifecycle Lifecycle
	// Drills try to restore.
	Drills Drills
	// Restores bring back what lies in an archive tier.
	Restores Restores
	// Usage tells what tiers hold.
	Usage Usage

	// Authorize refuses a request with a fault (Unauthenticated, Forbidden). Nil
	// lets everyone in: only for a socket that nobody else can open.
	Authorize func(*http.Request) error
	// Person returns the name of the person who sends a request that was authorised, "" when it is nobody in
	// particular. Nil: it is always nobody.
	Person func(*http.Request) string
	// Currency of all costs, ISO 4217; empty: it is not told with those of restores and drills.
	Currency string

	Log     *slog.Logger // nil discards
	Metrics Metrics      // nil measures nothing
	Now     func() time.Time
}

// Metrics is told about every answered request. The route is a pattern
// ("/api/tenants/:tenant"), sizes are of bodies, in bytes.
type Metrics interface {
	Request(method, route string, status int, d time.Duration, received, sent int64)
}

// Tenants keeps the tenants and their settings.
type Tenants interface {
	// Create makes a tenant and its root key. An empty KEK is the node's default.
	// The State given is active. fault.Exists when the name is taken; fault.Invalid
	// when the provider is not configured; fault.KeyDenied and KeyUnreachable from it.
	Create(ctx context.Context, t archive.Tenant, s archive.TenantSettings) (archive.TenantInfo, error)
	// List returns up to limit tenants with names after the given one, ascending.
	List(ctx context.Context, after archive.Tenant, limit int) ([]archive.TenantInfo, error)
	// Get returns one tenant; fault.NotFound.
	Get(ctx context.Context, t archive.Tenant) (archive.TenantInfo, error)
	// Change reads the settings, lets change edit them and keeps the outcome,
	// unless change fails, whose error is returned; no other Change comes in
	// between, so change may be called again. fault.NotFound.
	Change(ctx context.Context, t archive.Tenant, change func(*archive.TenantSettings) error) (archive.TenantInfo, error)
}

// Keys shows a tenant's keys and says whether they may be used. All of it
// fails with fault.NotFound when there is no such tenant.
type Keys interface {
	// Status works while the keys are revoked too.
	Status(ctx context.Context, t archive.Tenant) (archive.KeyStatus, error)
	// Retire gives up the versions of the KEK that are older than before; empty
	// is the current one. fault.Conflict, saying how many, while key objects are
	// under one of them; none is retired then. fault.Invalid for a version that
	// there is not, and where the provider cannot retire.
	Retire(ctx context.Context, t archive.Tenant, before string) error
	// Revoke returns when no node hands out anything of the tenant any more. Its
	// context does not end with the request: who has begun wants it done.
	// disable disables the KEK at its provider as well; should that fail, the
	// revocation holds nevertheless and the error says so (fault.Invalid where no
	// credential for it was configured). Revoking again is no error.
	Revoke(ctx context.Context, t archive.Tenant, disable bool) error
	// Grant takes a revocation back; enable enables the KEK at its provider first.
	// Granting what is not revoked is no error. It leaves a suspended tenant suspended.
	Grant(ctx context.Context, t archive.Tenant, enable bool) error
}

// Rewraps starts jobs that wrap every key object of a tenant anew.
// fault.Conflict while another runs or the keys are revoked, fault.NotFound
// when there is no such tenant.
type Rewraps interface {
	// Rotate makes a new version of the KEK first; fault.Invalid where the provider cannot.
	Rotate(ctx context.Context, t archive.Tenant) (archive.Job, error)
	// Move goes over to another KEK; fault.Invalid when its provider is not configured.
	Move(ctx context.Context, t archive.Tenant, kek string) (archive.Job, error)
}

// Escrows wraps a tenant's keys for a second key, and tries it.
type Escrows interface {
	// Escrow starts the job that wraps all there is; what is made later follows.
	// fault.Invalid for a public key that is none or a provider that is not
	// configured, fault.Conflict while another escrow of the tenant runs.
	Escrow(ctx context.Context, t archive.Tenant, r archive.Recovery) (archive.Job, error)
	// Drill opens escrowed keys and compares them with those in use. Keys that do
	// not open are counted, no error. fault.Conflict when nothing was escrowed,
	// fault.Invalid when a private key is needed, or is not needed, or is another one.
	Drill(ctx context.Context, t archive.Tenant, d archive.Drill) (archive.DrillReport, error)
}

// Shredder destroys keys.
type Shredder interface {
	// Shred returns when the key-closed facts are durable and every copy of the
	// keys that can be reached is destroyed. Shredding again answers how far it
	// is. fault.NotFound when there is no such study or patient and never was one
	// shredded, fault.Conflict, with the reason, under retention or legal hold.
	Shred(ctx context.Context, t archive.Tenant, target archive.ShredTarget) (archive.ShredStatus, error)
}

// Lifecycle keeps studies where the tenant's rules want them. All of it fails with
// fault.NotFound when there is no such tenant. Documents of rules are JSON as in the contract.
type Lifecycle interface {
	State(ctx context.Context, t archive.Tenant) (archive.LifecycleState, error)
	Rules(ctx context.Context, t archive.Tenant) ([]byte, error)
	// CheckRules returns fault.Invalid, saying where and what to write, for rules that cannot be stated.
	CheckRules(ctx context.Context, t archive.Tenant, rules []byte) error
	// SetRules returns when the rules are durable; errors as of CheckRules. by is who states them, for people.
	SetRules(ctx context.Context, t archive.Tenant, rules []byte, by string) error
	// Pause returns when it is durable that nothing, or again something, is to be done.
	Pause(ctx context.Context, t archive.Tenant, paused bool, by string) error
	// Tag adds tags to a study and takes others from it, and returns those that it has then. fault.NotFound for a
	// study that is not there, fault.Invalid for tags that none may have.
	Tag(ctx context.Context, t archive.Tenant, study string, add, remove []string) ([]string, error)
	// Plan reckons what rules would do; fault.Invalid for rules or numbers that cannot be.
	Plan(ctx context.Context, t archive.Tenant, q archive.LifecycleQuestion) (archive.LifecyclePlan, error)
	// Apply does what the rules want done, for some seconds.
	Apply(ctx context.Context, t archive.Tenant) (archive.LifecycleDone, error)
}

// Drills tries to restore what an archive has. All of it fails with fault.NotFound when there is
// no such tenant.
type Drills interface {
	// Start has a drill begun. fault.Conflict while another of the tenant is under way.
	Start(ctx context.Context, t archive.Tenant, q archive.RecoveryDrill) (archive.DrillRun, error)
	// Status returns what is known of the tenant's drills.
	Status(ctx context.Context, t archive.Tenant) (archive.DrillStatus, error)
	// Cancel calls the one off that is under way; fault.NotFound when there is none.
	Cancel(ctx context.Context, t archive.Tenant) error
}

// Usage tells what tiers hold of tenants; it works while the keys are revoked too.
type Usage interface {
	// List returns that of up to limit tenants with names after the given one, ascending.
	List(ctx context.Context, after archive.Tenant, limit int) ([]archive.Usage, error)
	// Of returns that of one tenant; fault.NotFound.
	Of(ctx context.Context, t archive.Tenant) (archive.Usage, error)
	// Recount lists the stores and compares; fault.NotFound.
	Recount(ctx context.Context, t archive.Tenant) (archive.Recount, error)
}

// Jobs shows work in the background.
type Jobs interface {
	// Get returns one job; fault.NotFound.
	Get(ctx context.Context, id string) (archive.Job, error)
	// List returns up to limit jobs with ids after the given one, ascending, of one
	// tenant or, with an empty name, of all.
	List(ctx context.Context, t archive.Tenant, after string, limit int) ([]archive.Job, error)
}
