package retention

import (
	"slices"
	"strings"
	"time"
)

// Rule says how long a kind of study must be kept. Of all rules that apply the longest
// period counts, and a rule whose condition cannot be told from what is known applies.
type Rule struct {
	Name   string `json:"name"`
	Text   string `json:"text,omitempty"`   // for people
	Source string `json:"source,omitempty"` // the law, or whatever the rule comes from
	// Modalities are those of the studies that the rule is about (0008,0060); none: all.
	Modalities []string `json:"modalities,omitempty"`
	// Years are counted from the last examination of the patient that the rule is about.
	Years int `json:"years,omitempty"`
	// YearsIfLater, when not 0, count from the study itself instead, as soon as the patient has
	// had a later examination that the rule is about.
	YearsIfLater int `json:"yearsIfLater,omitempty"`
	// Age, when not 0: of a person younger than Under at the examination, until the birthday that completes this age.
	Age   int `json:"age,omitempty"`
	Under int `json:"under,omitempty"`
}

// Set is what a law demands, from a day on.
type Set struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Since string `json:"since"` // first day of this edition, YYYY-MM-DD
	// Notes say what the set is and what it is not: an administrator must be able to judge it.
	Notes string `json:"notes"`
	Rules []Rule `json:"rules"`
}

// None is the set that demands nothing.
const None = "none"

// treatment are the modalities of radiotherapy (PS3.3 C.7.3.1.1.1).
var treatment = []string{"RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT"}

// editions are all sets, by name and then by their first day. An edition is never changed once it was
// released: a law that changes gets another.
var editions = []Set{
	{
		Name: "de", Title: "Germany", Since: "2018-12-31",
		Notes: "Strahlenschutzgesetz § 85 (2), in force since 2018-12-31. Periods are counted from the last examination or treatment, as the " +
			"Röntgenverordnung had it (§ 28 (3)) and authorities still advise: of the readings of the law the one that keeps longest. The set is applied to every " +
			"modality, also where nothing is irradiated (ultrasound, MR): there BGB § 630f (3) demands ten years after the end of the treatment, and of minors not more than that. " +
			"Not covered: what an authority orders, clinical trials, claims for damages (up to 30 years, BGB § 199 (2)).",
		Rules: []Rule{
			{Name: "examination", Source: "StrlSchG § 85 (2) no. 2", Years: 10, Age: 28, Under: 18,
				Text: "Images of an examination: ten years; of a person under 18, until the 28th year of life is completed."},
			{Name: "treatment", Source: "StrlSchG § 85 (2) no. 1", Years: 30, Modalities: treatment,
				Text: "Records and images of a treatment: thirty years."},
		},
	},
	{
		Name: "us", Title: "United States, as states commonly have it", Since: "1999-04-28",
		Notes: "Not a law: a floor that meets the federal rules of set us-federal and what many states demand of adults (seven years) and of minors " +
			"(until 21). Some states demand more, for instance ten years, or a number of years after majority; HIPAA sets no period for images. " +
			"Ask counsel, and add rules of your own where yours demands more.",
		Rules: []Rule{
			{Name: "examination", Source: "common among state laws; none in particular", Years: 7, Age: 21, Under: 18,
				Text: "Images: seven years after the last examination; of a person under 18, until the 21st birthday at least."},
			mammography,
		},
	},
	{
		Name: "us-federal", Title: "United States, federal rules alone", Since: "1999-04-28",
		Notes: "What federal rules demand of hospitals in Medicare and of mammography. HIPAA sets no period for images. State law " +
			"nearly always demands more: this set alone is seldom enough.",
		Rules: []Rule{
			{Name: "hospital", Source: "42 CFR 482.26 (d) (2)", Years: 5,
				Text: "Films, scans and other image records of a hospital: five years."},
			mammography,
		},
	},
}

var mammography = Rule{Name: "mammography", Source: "21 CFR 900.12 (c) (4) (i)", Modalities: []string{"MG"}, Years: 10, YearsIfLater: 5,
	Text: "Mammograms: ten years; five as soon as the patient has had a later one here."}

// Sets returns every edition of every set, by name and then by their first day.
func Sets() []Set { return slices.Clone(editions) }

// find returns the edition of a set that is in force on a day, or the one that is named by its first day.
func find(sets []Set, name, edition string, on time.Time) (Set, bool) {
	var out Set
	found := false
	for _, s := range sets {
		switch {
		case s.Name != name:
		case edition != "":
			if s.Since == edition {
				return s, true
			}
		case s.Since <= on.UTC().Format(time.DateOnly):
			out, found = s, true
		}
	}
	return out, found
}

// Known reports whether there is a set of the name.
func Known(name string) bool {
	return name == None || slices.ContainsFunc(editions, func(s Set) bool { return s.Name == name })
}

// Names are the names of all sets.
func Names() string {
	names := []string{None}
	for _, s := range editions {
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}
