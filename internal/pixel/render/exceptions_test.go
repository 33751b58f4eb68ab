package render

const (
	rgbJPEG  = "dcmtk converts from YCbCr what the data set says is RGB, and is"
	padded   = "dcmtk takes Pixel Padding Value for a value of the image"
	supple   = "dcmtk ignores the Supplemental Palette Color Lookup Table and the functional groups"
	noBits   = "dcmtk has no RLE of 1-bit pixels, and gdcm no deflated frames"
	noHTJ2K  = "neither dcmtk nor gdcm has HTJ2K"
	wide     = "dcmtk wants OW for samples of 32 bits"
	cutShort = "the last frame is coded smaller than the data set says, and not shown"
)

// exceptions says, by file, its folder before it where two have one name, where dcmtk is not what to compare with, and why.
var exceptions = map[string]string{
	"dicom-test-files/SC_rgb_jpeg_lossy_gdcm.dcm": rgbJPEG,
	"GH195.dcm": rgbJPEG,

	"CT1_UNC.implicit_little_endian.dcm":        padded,
	"D_CLUNIE_CT1_RLE_FRAGS.dcm":                padded,
	"CT1_UNC.not_fragmented_bot_jpeg_ls.80.dcm": padded,

	"CT0012.not_fragmented_no_bot_rle.dcm":          supple,
	"CT0012.not_fragmented_no_bot_jpeg_ls.80.dcm":   supple,
	"CT0012.fragmented_no_bot_jpeg_ls.80.dcm":       supple,
	"CT0012.fragmented_no_bot_jpeg_ls.81.dcm":       supple,
	"CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": supple,

	"liver_deflate.dcm":             noBits,
	"liver_rle.dcm":                 noBits,
	"liver_nonbyte_aligned_rle.dcm": noBits,

	"SC_rgb_32bit_2frame.dcm":      wide,
	"SC_rgb_expb_32bit_2frame.dcm": wide,

	"JPEG2000-embedded-sequence-delimiter.dcm": "a delimiter was written over the width of the code stream, which is refused",

	"fo-dicom__multiframe.dcm": cutShort,
	"multiframe.dcm":           cutShort,

	"pydicom-data__HTJ2KLossless_08_RGB.dcm": noHTJ2K,
	"HTJ2KLossless_08_RGB.dcm":               noHTJ2K,

	"CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": "dcmtk does not know attributes that come as UN, the window and the rescaling among them",
	"parametric_map_float.dcm": "dcmtk has no Float Pixel Data",
	"rtdose_expb_1frame.dcm":   "dcmtk does not swap big endian samples of 32 bits; ours is what it makes of rtdose_1frame.dcm",
}
