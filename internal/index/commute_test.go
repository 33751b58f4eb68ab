package index

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/dicom"
)

// genFacts draws facts about two studies: stores with conflicting attributes,
// versions, replacements and facts written twice, deletions at every level and undeletions, keys that are closed, of
// which a study has two, and what was stored under each of them settled, dropped and moved.
func genFacts(t *rapid.T) []archive.Entry {
	var out []archive.Entry
	settling := map[archive.KeyID]*settlement{}
	type told struct {
		fact  uint64
		scope archive.UIDs
		blobs []archive.BlobID
	}
	var stores, deletions []told
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	for n := uint64(1); n <= uint64(rapid.IntRange(1, 9).Draw(t, "facts")); n++ {
		switch kind := rapid.IntRange(0, 17).Draw(t, "kind"); {
		case kind == 14: // of a study that is perhaps not there
			out = append(out, tags(n, pick("tagged", "1.1", "1.2"), rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "tags")...))
		case kind < 6 || len(stores) == 0:
			study := pick("study", "1.1", "1.2")
			var specs []spec
			told := told{fact: n, scope: archive.UIDs{Study: study}}
			for range rapid.IntRange(1, 3).Draw(t, "instances") {
				series := study + pick("series", ".1", ".2")
				s := spec{study: study, series: series, instance: series + pick("instance", ".1", ".2"),
					version: rapid.IntRange(0, 1).Draw(t, "version"), name: pick("name", "Müller^A", "Weiß^B"), id: pick("id", "P1", "P2"),
					date: pick("date", "20200101", "20210101", ""), modality: pick("modality", "CT", "MR", "XX"), desc: "kopf",
					seriesDesc: pick("sd", "a", "b"), number: rapid.IntRange(0, 2).Draw(t, "number"), sopClass: pick("class", "1.5", "1.6"),
					seriesNumber: 1, body: pick("body", "HEAD", "CHEST", "")}
				if rapid.IntRange(0, 3).Draw(t, "replacing") == 0 && len(stores) > 0 {
					s.replaces = rapid.SampledFrom(stores).Draw(t, "replaces").blobs
				}
				if slices.Contains(told.blobs, blobOf(s, n)) {
					continue // a fact states a blob once
				}
				specs = append(specs, s)
				told.blobs = append(told.blobs, blobOf(s, n))
			}
			e := sealedUnder(stored(n, specs...), keyNamed(study, pick("key", "a", "b")))
			if rapid.IntRange(0, 3).Draw(t, "packed") == 0 {
				e.Fact.Packs = []archive.PackPlace{{Object: fmt.Sprintf("%s/pack/%d", hospital, n), Size: 500, Tier: archive.HotTier}}
				for i := range e.Fact.Instances {
					e.Fact.Instances[i].At.Object = e.Fact.Packs[0].Object
				}
			}
			stores = append(stores, told)
			out = append(out, e)
			k := settling[e.Fact.Key]
			if k == nil {
				k = newSettlement(study, e.Fact.Key)
				settling[e.Fact.Key] = k
			}
			k.stored(e)
			if rapid.IntRange(0, 9).Draw(t, "twice") == 0 { // the same fact under another number
				e.N, e.Object = n+1000, fmt.Sprintf("%s/log/%s/%016d", hospital, testSession, n+1000)
				out = append(out, e)
				if rapid.Bool().Draw(t, "known twice") {
					k.seen.entries = append(k.seen.entries, e.N)
				}
			}
		case kind == 10:
			study := pick("closed study", "1.1", "1.2")
			ids := []archive.KeyID{keyNamed(study, "a"), keyNamed(study, "b")}
			out = append(out, closes(n, study, rapid.SampledFrom([][]archive.KeyID{ids[:1], ids[1:], ids}).Draw(t, "closed")...))
		case kind == 15:
			out = append(out, rapid.SampledFrom([]archive.Entry{holds(n, "1.1", "alice"), holdsPatient(n, "P1", "bob")}).Draw(t, "hold"))
		case kind == 16: // of holds that may never be, or come later
			out = append(out, releases(n, uint64(rapid.IntRange(1, 9).Draw(t, "released")), pick("person", "alice", "bob", "Bob")))
		case kind == 17:
			out = append(out, rules(n, pick("rules", archive.RulesLifecycle, archive.RulesRetention), fmt.Sprintf(`{"n":%d}`, n)))
		case kind > 10:
			var all []*settlement
			for _, study := range []string{"1.1", "1.2"} {
				for _, key := range []string{"a", "b"} {
					if k := settling[keyNamed(study, key)]; k != nil {
						all = append(all, k)
					}
				}
			}
			k := all[rapid.IntRange(0, len(all)-1).Draw(t, "of")]
			if kind < 13 || len(k.seen.packs) == 0 {
				out = append(out, k.settle(t, n))
			} else {
				out = append(out, k.move(t, n))
			}
		case kind < 8 || len(deletions) == 0:
			s := rapid.SampledFrom(stores).Draw(t, "deleted")
			s.fact = n
			s.blobs = s.blobs[:rapid.IntRange(1, len(s.blobs)).Draw(t, "some")]
			deletions = append(deletions, s)
			out = append(out, deletes(n, s.scope, s.blobs...))
			for _, k := range settling {
				for _, id := range s.blobs {
					k.deleted[id] = true
				}
			}
		default:
			d := rapid.SampledFrom(deletions).Draw(t, "undone")
			out = append(out, undeletes(n, d.scope.Study, []uint64{d.fact}, d.blobs[:rapid.IntRange(1, len(d.blobs)).Draw(t, "some")]...))
		}
	}
	return out
}

// tiers is what the index says of packs and of entries of the log.
func tiers(t fatal, x *Index, name archive.Tenant) string {
	ctx := context.Background()
	var out strings.Builder
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, study := range []string{"1.1", "1.2"} {
		packs, err := x.Packs(ctx, name, fakeKeys(hospital).Ref(study))
		check(err)
		entries, err := x.Entries(ctx, name, fakeKeys(hospital).Ref(study))
		check(err)
		fmt.Fprintln(&out, study, packs, entries)
		var rows, series []string
		check(x.StudyInstances(ctx, name, fakeKeys(hospital).Ref(study), func(r *archive.InstanceRow, s archive.State) bool {
			c := *r
			c.ID, c.StudyID, c.SeriesID, c.ChunkID = 0, 0, 0, 0
			rows = append(rows, fmt.Sprintln(c, s))
			return true
		}))
		sort.Strings(rows) // of a fact that was written twice, rows come in either order
		fmt.Fprintln(&out, rows)
		check(x.read(ctx, name, func(c *conn, tn *tenant) error {
			return c.query(ctx, `SELECT e.ref, p.name, s.shown FROM pack_series s JOIN packs p ON p.id = s.pack JOIN series e ON e.id = s.series JOIN studies y ON y.id = e.study
				WHERE y.tenant = ? AND y.ref = ? AND s.shown <> 0`, func(v []driver.Value) error {
				series = append(series, fmt.Sprintf("%x %s %d", blob(v[0]), text(v[1]), integer(v[2])))
				return nil
			}, tn.id, ref(study))
		}))
		sort.Strings(series)
		fmt.Fprintln(&out, series)
	}
	return out.String()
}

// inStore is what the index says of what is in the store, and which objects of the log are to be deleted.
func inStore(t fatal, x *Index, name archive.Tenant) (text string, doomed []string) {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for _, moved := range []bool{false, true} {
		list, err := x.Doomed(ctx, name, x.now().Add(time.Hour), moved, 0, 1000)
		check(err)
		for _, d := range list {
			lines = append(lines, fmt.Sprint(d.Object, d.Tier, d.Size, moved))
			doomed = append(doomed, d.Object)
		}
	}
	sort.Strings(lines)
	usage, err := x.TierUsage(ctx, name)
	check(err)
	p, err := x.Progress(ctx, name)
	check(err)
	return fmt.Sprintln(lines, usage, p), doomed
}

func ref(study string) []byte {
	r := fakeKeys(hospital).Ref(study)
	return r[:]
}

// keyNamed is one of the keys of a study.
func keyNamed(study, key string) archive.KeyID {
	return archive.KeyID(fakeKeys("key").Ref(study + "/" + key))
}

// sealedUnder has a stored fact sealed under the key.
func sealedUnder(e archive.Entry, id archive.KeyID) archive.Entry {
	e.Fact.Key = id
	for i := range e.Fact.Instances {
		e.Fact.Instances[i].Key = id
	}
	return e
}

func closes(n uint64, study string, ids ...archive.KeyID) archive.Entry {
	return entry(n, &archive.Fact{Kind: archive.FactKeyClosed, Study: fakeKeys(hospital).Ref(study), Closed: ids, Until: time.UnixMilli(int64(n)),
		Closing: archive.Closing{Instances: int(n), Patient: archive.Ref{byte(n)}}})
}

// wordsOf are the words of the attributes of a tag, for the vocabulary.
func wordsOf(x *Index, tag dicom.Tag, all ...archive.Attrs) map[string]bool {
	out := map[string]bool{}
	t := &tenant{x: x}
	for _, as := range all {
		t.eachLearnt(as, func(w word) {
			if w.tag == tag {
				out[w.text] = true
			}
		})
	}
	return out
}

// leftOpen are the attributes of what no fact shreds or drops, and whether one does so with anything.
func leftOpen(es []archive.Entry) (left []archive.Attrs, shredding bool) {
	closed, dropped := map[archive.KeyID]bool{}, map[archive.BlobID]bool{}
	for _, e := range es {
		for _, id := range e.Fact.Closed {
			closed[id] = true
		}
		for _, id := range e.Fact.Dropped {
			dropped[id] = true
		}
	}
	for _, e := range es {
		for i := range e.Fact.Instances {
			if in := &e.Fact.Instances[i]; !closed[in.Key] && !dropped[in.Blob] {
				left = append(left, in.Patient)
			}
		}
	}
	return left, len(closed)+len(dropped) > 0
}

// vocabulary is what there is to say of the words of a tag: all of them, or where something
// was shredded or dropped nothing, when they are those shown at least, and those of what is left at most.
func vocabulary(t fatal, x *Index, name archive.Tenant, tag dicom.Tag, es []archive.Entry, shown []archive.Attrs) string {
	words, _, err := x.Words(context.Background(), name, tag, func(string) bool { return true }, 100)
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(words)
	left, shredding := leftOpen(es)
	if !shredding {
		return fmt.Sprint(tag, words)
	}
	has := map[string]bool{}
	may := wordsOf(x, tag, left...)
	for _, w := range words {
		if has[w] = true; !may[w] {
			t.Fatal("a word of what was shredded alone is in the vocabulary: ", w)
		}
	}
	for w := range wordsOf(x, tag, shown...) {
		if !has[w] {
			t.Fatal("a word that is shown is not in the vocabulary: ", w)
		}
	}
	return ""
}

// answers is everything that queries say of the facts, without row identities, in a form to compare.
func answers(t fatal, x *Index, name archive.Tenant, es []archive.Entry) string {
	ctx := context.Background()
	var out strings.Builder
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var shown []archive.Attrs
	list := func(f archive.StudyFilter) {
		var lines []string
		check(x.Studies(ctx, name, f, func(s *archive.StudyRow) bool {
			shown = append(shown, s.Attrs)
			lines = append(lines, fmt.Sprint(s.UID, s.Attrs, s.Modalities, s.SOPClasses, s.Series, s.Instances, s.Bytes, s.Received, s.Updated, s.Conflicts))
			return true
		}))
		sort.Strings(lines)
		fmt.Fprintln(&out, f, lines)
	}
	list(archive.StudyFilter{})
	list(archive.StudyFilter{From: "20200101"})
	list(archive.StudyFilter{To: "20200601"})
	for _, m := range []string{"CT", "MR", "XX", "US"} {
		list(archive.StudyFilter{Modalities: []string{m}})
	}
	for _, w := range []archive.Term{{Tag: 0x00100010, Word: "muller"}, {Tag: 0x00100010, Word: "weiss"}, {Tag: 0x00100020, Word: "p1", Full: true}} {
		list(archive.StudyFilter{All: [][]archive.Term{{w}, {{Tag: 0x00081030, Word: "kopf"}}}})
	}
	for _, study := range []string{"1.1", "1.2"} {
		key, ok, err := x.StudyKey(ctx, name, fakeKeys(hospital).Ref(study))
		check(err)
		fmt.Fprintln(&out, study, key, ok)
		life, ok, err := x.Life(ctx, name, fakeKeys(hospital).Ref(study))
		check(err)
		life.ID, life.Due, life.Mark = 0, time.Time{}, archive.LifeMark{}
		if life.Instances == 0 {
			life.Patient, life.StudyDate = archive.Ref{}, "" // those that it showed last
		}
		fmt.Fprintln(&out, life, ok)
		check(x.Instances(ctx, name, archive.UIDs{Study: study}, func(r *archive.InstanceRow) bool {
			c := *r
			c.ID, c.StudyID, c.SeriesID, c.ChunkID = 0, 0, 0, 0
			fmt.Fprintln(&out, c)
			rows, elsewhere, err := x.Versions(ctx, name, r.UIDs)
			check(err)
			fmt.Fprintln(&out, len(rows), rows[0].Blob, elsewhere)
			return true
		}))
		for _, series := range []string{study + ".1", study + ".2"} {
			rows, err := x.SeriesByUID(ctx, name, []string{series})
			check(err)
			for _, s := range rows {
				fmt.Fprintln(&out, s.UID, s.Attrs, s.Instances)
			}
		}
		blobs, err := x.Blobs(ctx, name, archive.UIDs{Study: study})
		check(err)
		var lines []string
		for _, b := range blobs {
			lines = append(lines, "live "+b.String())
		}
		gone, err := x.Deletions(ctx, name, archive.UIDs{Study: study})
		check(err)
		for _, d := range gone {
			lines = append(lines, fmt.Sprint("gone ", d))
		}
		sort.Strings(lines)
		fmt.Fprintln(&out, lines)
	}
	for _, tag := range []dicom.Tag{0x00100010, 0x00100020} {
		fmt.Fprintln(&out, vocabulary(t, x, name, tag, es, shown))
	}
	closed, err := x.ClosedKeys(ctx, name, 0, 100)
	check(err)
	sort.Slice(closed, func(i, j int) bool { return compareKeys(closed[i].ID, closed[j].ID) < 0 })
	for _, k := range closed {
		k.Sequence = 0
		fmt.Fprintln(&out, k)
	}
	for _, study := range []string{"1.1", "1.2"} {
		sealed, ok, err := x.Sealed(ctx, name, fakeKeys(hospital).Ref(study))
		check(err)
		sealed.PatientID, sealed.Issuer = "", "" // of a deleted study, those that it showed last
		fmt.Fprintln(&out, study, sealed, ok)
	}
	n, err := x.StudyCount(ctx, name)
	check(err)
	fmt.Fprintln(&out, n, "studies")
	out.WriteString(orders(t, x, name))
	return out.String()
}

type fatal interface{ Fatal(...any) }

// TestOrderDoesNotMatter: the index is a function of the set of facts. Any order of them, in
// transactions of any size, as a rebuild or not, on one node or several, gives the same answers; and so
// do those that are left when what they supersede was deleted.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		empty := emptyIndex(t)
		run := 0
		testOrder(t, func(rt *rapid.T) ([]*Index, archive.Tenant, func()) {
			run++
			o := baseOptions()
			o.Path = fmt.Sprintf("%s/%d.db", dir, run)
			if err := os.WriteFile(o.Path, empty, 0o600); err != nil {
				rt.Fatal(err)
			}
			x, err := Open(context.Background(), o)
			if err != nil {
				rt.Fatal(err)
			}
			return []*Index{x}, hospital, func() {
				x.Close()
				_, _ = os.Remove(o.Path), os.Remove(o.Path+".ballast")
			}
		})
	})
	t.Run("postgres", func(t *testing.T) {
		o := onPostgres(t)
		o.Keys = func(context.Context, archive.Tenant) (Keys, error) { return fakeKeys(hospital), nil }
		nodes := []*Index{openWith(t, o), openWith(t, o)}
		run := 0
		testOrder(t, func(*rapid.T) ([]*Index, archive.Tenant, func()) {
			run++
			return nodes, archive.Tenant(fmt.Sprintf("tenant-%d", run)), func() {}
		})
	})
}

// testOrder draws facts and applies them on nodes that share an empty tenant.
func testOrder(t *testing.T, open func(*rapid.T) (nodes []*Index, name archive.Tenant, done func())) {
	ctx := context.Background()
	build := func(rt *rapid.T, all, es []archive.Entry, bulk bool) (says, has string, doomed []string) {
		nodes, name, done := open(rt)
		defer done()
		es = inTenant(es, name)
		for len(es) > 0 {
			n := rapid.IntRange(1, len(es)).Draw(rt, "together")
			x := nodes[rapid.IntRange(0, len(nodes)-1).Draw(rt, "node")]
			var err error
			if bulk {
				err = x.Bulk(ctx, name, func(add func(archive.Entry) error) error {
					for _, e := range es[:n] {
						if err := add(e); err != nil {
							return err
						}
					}
					return nil
				})
			} else {
				_, err = x.Apply(ctx, name, es[:n]...)
			}
			if err != nil {
				rt.Fatal(err)
			}
			es = es[n:]
		}
		here := func(text string) string { return strings.ReplaceAll(text, string(name)+"/", string(hospital)+"/") }
		has, doomed = inStore(rt, nodes[0], name)
		for i := range doomed {
			doomed[i] = here(doomed[i])
		}
		return here(answers(rt, nodes[0], name, all) + tiers(rt, nodes[0], name)), here(has), doomed
	}
	rapid.Check(t, func(rt *rapid.T) {
		es := genFacts(rt)
		want, has, doomed := build(rt, es, es, false)
		for i := range 2 {
			got, have, _ := build(rt, es, rapid.Permutation(es).Draw(rt, "order"), i == 1 && rapid.Bool().Draw(rt, "bulk"))
			if got+have != want+has {
				rt.Fatal("another order gives", differing(got+have, want+has))
			}
		}
		left := slices.DeleteFunc(slices.Clone(es), func(e archive.Entry) bool { return slices.Contains(doomed, e.Object) })
		if len(left) == len(es) {
			return
		}
		if got, _, _ := build(rt, es, rapid.Permutation(left).Draw(rt, "order of what is left"), rapid.Bool().Draw(rt, "bulk")); got != want {
			rt.Fatal("without what is to be deleted", differing(got, want))
		}
	})
}

// differing are the lines in which two answers differ.
func differing(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			fmt.Fprintf(&out, "\n%s\ninstead of\n%s", x, y)
		}
	}
	return out.String()
}

// inTenant are the entries as they are in the log of a tenant.
func inTenant(es []archive.Entry, name archive.Tenant) []archive.Entry {
	if name == hospital {
		return es
	}
	of := func(object string) string { return strings.Replace(object, string(hospital), string(name), 1) }
	out := slices.Clone(es)
	for i := range out {
		f := *out[i].Fact
		f.Instances, f.Packs = slices.Clone(f.Instances), slices.Clone(f.Packs)
		for k := range f.Instances {
			f.Instances[k].At.Object = of(f.Instances[k].At.Object)
		}
		for k := range f.Packs {
			f.Packs[k].Object = of(f.Packs[k].Object)
		}
		out[i].Object, out[i].Fact = of(out[i].Object), &f
	}
	return out
}
