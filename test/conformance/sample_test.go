package conformance

import "testing"

const (
	ctImage = "1.2.840.10008.5.1.4.1.1.2"
	mrImage = "1.2.840.10008.5.1.4.1.1.4"
)

// sample stores the archive that the tests of searching ask:
//
//	1.10  Müller^Jörg    PHAN-01  A-100/7  20240102 1015       series 1.10.1 CT (2), 1.10.2 MR (1)
//	1.11  Yamada^Tarou=… PHAN-02  A-101    20240205 233000.5   series 1.11.1 CT (1)
//	1.12  Fern^Ada       77       B 3      20230630 080000     series 1.12.1 US (1), requested
//	1.13  (no name)      NN       (none)   (no date)           series 1.13.1 OT (1)
func sample(t testing.TB, w *world) {
	t.Helper()
	a := func(series, instance, modality, class, number string) []byte {
		return image("1.10", series, instance, el{0x00080016, "UI", class}, el{0x00080060, "CS", modality},
			el{0x00080020, "DA", "20240102"}, el{0x00080030, "TM", "1015"}, el{0x00080050, "SH", "A-100/7"}, el{0x00080090, "PN", "Weiß^Karl"},
			el{0x00081030, "LO", "CT Schädel nativ"}, el{0x00100010, "PN", "Müller^Jörg"}, el{0x00100020, "LO", "PHAN-01"},
			el{0x00100030, "DA", "19500401"}, el{0x00100040, "CS", "M"},
			el{0x00200010, "SH", "S10"}, el{0x00200011, "IS", series[len(series)-1:]}, el{0x00200013, "IS", number},
			el{0x0008103E, "LO", "Series " + modality}, el{0x00081070, "PN", "Operator^" + modality}, el{0x00181151, "IS", "120"},
			el{0x00091001, "LO", "private " + modality}, el{0x00090010, "LO", "STRATA TESTS"})
	}
	w.post(t,
		a("1.10.1", "1.10.1.1", "CT", ctImage, "1"), a("1.10.1", "1.10.1.2", "CT", ctImage, "2"), a("1.10.2", "1.10.2.1", "MR", mrImage, "1"),
		image("1.11", "1.11.1", "1.11.1.1", el{0x00080016, "UI", ctImage}, el{0x00080060, "CS", "CT"},
			el{0x00080020, "DA", "20240205"}, el{0x00080030, "TM", "233000.5"}, el{0x00080050, "SH", "A-101"}, el{0x00080090, "PN", "House^Gregory"},
			el{0x00100010, "PN", "Yamada^Tarou=山田^太郎=やまだ^たろう"}, el{0x00100020, "LO", "PHAN-02"}, el{0x00200010, "SH", "S11"},
			el{0x00081070, "PN", "Operator^None"}),
		image("1.12", "1.12.1", "1.12.1.1", el{0x00080060, "CS", "US"},
			el{0x00080020, "DA", "20230630"}, el{0x00080030, "TM", "080000"}, el{0x00080050, "SH", "B 3"}, el{0x00080090, "PN", "House^Gregory"},
			el{0x00100020, "LO", "77"}, el{0x00200010, "SH", "S12"}, el{0x00200011, "IS", "5"}, el{0x00200013, "IS", "7"},
			el{0x00400244, "DA", "20230630"}, el{0x00400245, "TM", "081500"},
			el{0x00400275, "SQ", item(el{0x00400009, "SH", "SPS-1"}, el{0x00401001, "SH", "RP-1"}) +
				item(el{0x00400009, "SH", "SPS-2"}, el{0x00401001, "SH", "RP-2"})}),
		image("1.13", "1.13.1", "1.13.1.1", el{0x00080020, "DA", ""}, el{0x00080030, "TM", ""}, el{0x00100010, "PN", ""}, el{0x00100020, "LO", "NN"}),
	).is(200)
}
