package tiers

import (
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// Prices of Amazon S3 in US dollars, as of September 2025 where nothing else is
// said. What was found for eu-central-1, and what was not:
//
//   - Storage of STANDARD and GLACIER_IR, and retrieval from GLACIER_IR:
//     https://blog.pesky.moe/posts/2025-09-14-s3-class.
//   - Storage of GLACIER and DEEP_ARCHIVE: no page with the figures was found.
//     https://www.demo.wlid.nl/s3-storage-classes.html (2 December 2021) has them at 16 % and
//     7 % of STANDARD in Frankfurt, and the cheapest request at 0.00043 for a thousand.
//   - Restores: not found. Those of us-east-1 stand here, from
//     https://repost.aws/knowledge-center/s3-manage-data-retrieval (GLACIER) and
//     https://www.usage.ai/blogs/aws/storage-cost/glacier-deep-archive-pricing/ (5 June 2026),
//     with requests to DEEP_ARCHIVE at the 0.10 and 0.025 that are quoted for us-east-1.
//   - Writes: not found. That into DEEP_ARCHIVE is of us-east-1, from
//     https://drinkc.at/blog/2024/07/09/backup-to-glacier-calc; those into the others, and reading
//     from GLACIER_IR, are list prices of us-east-1 for which no page was at hand (STANDARD a
//     twelfth dearer, as its reads are in Frankfurt).
//
// Whoever decides by them sets the prices of the contract: https://aws.amazon.com/s3/pricing/.
//
// Minimum days and sizes: https://cloudcostkit-com.pages.dev/guides/aws-s3-glacier-pricing/ (18 June
// 2026). The 40 KB of overhead of an archived object, 32 KB at the price of its class and 8 KB
// at that of STANDARD: the same page as for writes. Restore times:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html.
const (
	awsStandard = 0.0245
	awsInstant  = 0.0050
	awsFlexible = 0.16 * awsStandard
	awsDeep     = 0.07 * awsStandard

	kb = 1 << 10
)

// awsCurrency is that of the presets.
const awsCurrency = "USD"

func awsPrices(class string) archive.Prices {
	switch class {
	case "GLACIER_IR":
		return archive.Prices{GBMonth: awsInstant, Write: 0.02, Read: 0.01, RetrieveGB: 0.03, MinDays: 90, MinBytes: 128 * kb}
	case "GLACIER":
		return archive.Prices{GBMonth: awsFlexible, Write: 0.03, Read: 0.00043, MinDays: 90, ExtraBytes: overhead(awsFlexible)}
	case "DEEP_ARCHIVE":
		return archive.Prices{GBMonth: awsDeep, Write: 0.05, Read: 0.00043, MinDays: 180, ExtraBytes: overhead(awsDeep)}
	}
	return archive.Prices{GBMonth: awsStandard, Write: 0.0054, Read: 0.00043}
}

// overhead is 32 KB, and as many bytes as cost what 8 KB cost in STANDARD.
func overhead(gbMonth float64) int64 { return 32*kb + int64(8*kb*awsStandard/gbMonth) }

// awsSpeeds are how S3 restores from a class, with the prices above; none of what is no archive.
func awsSpeeds(class string) []archive.RestoreSpeed {
	switch class {
	case "GLACIER":
		return []archive.RestoreSpeed{
			{Priority: archive.Expedited, Word: "Expedited", Typical: 5 * time.Minute, Longest: 15 * time.Minute, GB: 0.03, Requests: 10},
			{Priority: archive.Standard, Word: "Standard", Typical: 4 * time.Hour, Longest: 5 * time.Hour, GB: 0.01, Requests: 0.05},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 8 * time.Hour, Longest: 12 * time.Hour},
		}
	case "DEEP_ARCHIVE": // expedited is not offered
		return []archive.RestoreSpeed{
			{Priority: archive.Standard, Word: "Standard", Typical: 12 * time.Hour, Longest: 12 * time.Hour, GB: 0.02, Requests: 0.10},
			{Priority: archive.Bulk, Word: "Bulk", Typical: 48 * time.Hour, Longest: 48 * time.Hour, GB: 0.0025, Requests: 0.025},
		}
	}
	return nil
}

// awsEgress is a GB sent to the internet, of the first 10 TB of a month, as quoted for
// us-east-1 in 2025; eu-central-1 was not found. To a node in the bucket's region nothing is charged.
const awsEgress = 0.09

func awsTier(name archive.TierName, store, class string) archive.Tier {
	speeds := awsSpeeds(class)
	return archive.Tier{Name: name, Store: store, Class: class, Restore: speeds != nil, Prices: awsPrices(class), Speeds: speeds}
}
