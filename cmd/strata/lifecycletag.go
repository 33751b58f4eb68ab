package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/api"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
)

// studyTags are the tags of a study, as they are shown.
type studyTags struct {
	Study string   `json:"study"`
	Tags  []string `json:"tags"`
}

func (d *admin) tagLifecycle() *cobra.Command {
	var named studyName
	var add, remove []string
	cmd := d.command("tag STUDY-UID …", "Add tags to studies, take others from them, and show them", `Rules can ask for tags: when: { tag: [teaching] }. They are words of the archive
and stand in no image. Without --add and --remove they are only shown.`, cobra.ArbitraryArgs, func(ctx context.Context, s *session, studies []string) error {
		if named.flag != "" {
			studies = append(studies, named.flag)
		}
		if len(studies) == 0 {
			return errNoStudy()
		}
		for _, uid := range studies {
			if !ingest.ValidUID(uid) {
				return fault.New(fault.Invalid, "what names a study must be a Study Instance UID")
			}
		}
		change := api.TagChange{Add: &add, Remove: &remove}
		var shown []studyTags
		for _, change.Study = range studies {
			r, err := read[api.StudyTags](s.TagStudy(ctx, s.tenant, change))
			if err != nil {
				return fmt.Errorf("after %d of %d studies: %w", len(shown), len(studies), err)
			}
			shown = append(shown, studyTags{change.Study, r.Tags})
		}
		return s.show(shown, func(w io.Writer) {
			heading(w, "study", "tags")
			for _, st := range shown {
				fmt.Fprintf(w, "%s\t%s\n", st.Study, strings.Join(st.Tags, ", "))
			}
		})
	})
	f := cmd.Flags()
	named.add(f)
	f.StringArrayVar(&add, "add", []string{}, "a tag to add; may be repeated")
	f.StringArrayVar(&remove, "remove", []string{}, "a tag to take away; may be repeated")
	return cmd
}
