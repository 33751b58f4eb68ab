package dicom

import "strings"

// Transfer syntaxes that code refers to by name (PS3.6 Table A-1).
const (
	ImplicitVRLittleEndian         = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian         = "1.2.840.10008.1.2.1"
	EncapsulatedUncompressed       = "1.2.840.10008.1.2.1.98"
	DeflatedExplicitVRLittleEndian = "1.2.840.10008.1.2.1.99"
	ExplicitVRBigEndian            = "1.2.840.10008.1.2.2"
	JPEGBaseline8Bit               = "1.2.840.10008.1.2.4.50"
	JPEGExtended12Bit              = "1.2.840.10008.1.2.4.51"
	JPEGLossless                   = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1                = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless                 = "1.2.840.10008.1.2.4.80"
	JPEGLSNearLossless             = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless               = "1.2.840.10008.1.2.4.90"
	JPEG2000                       = "1.2.840.10008.1.2.4.91"
	HTJ2KLossless                  = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL              = "1.2.840.10008.1.2.4.202"
	HTJ2K                          = "1.2.840.10008.1.2.4.203"
	RLELossless                    = "1.2.840.10008.1.2.5"
	DeflatedImageFrame             = "1.2.840.10008.1.2.8.1"
)

// TransferSyntax says how a data set is encoded.
type TransferSyntax struct {
	UID          string
	Name         string // of PS3.6 Table A-1; empty for one that is not in the table
	Implicit     bool   // VRs come from the dictionary
	BigEndian    bool
	Deflated     bool // the data set is deflated as a whole (PS3.5 §A.5)
	Encapsulated bool // Pixel Data comes in fragments (PS3.5 §A.4)
	Video        bool // the fragments are one stream of all frames
	// MediaType is that of a frame, or of the video stream, as stored (PS3.18 Table 8.7.3-5);
	// application/octet-stream where the table has none.
	MediaType string
}

// Syntax returns the transfer syntax of the UID. One that nobody has heard of
// is Explicit VR Little Endian with encapsulated Pixel Data, as every syntax
// since 1993 has been (PS3.5 §A.4); its Name is empty.
func Syntax(uid string) TransferSyntax {
	for i := range syntaxes {
		if syntaxes[i].UID == uid {
			return syntaxes[i]
		}
	}
	return TransferSyntax{UID: uid, Encapsulated: true, MediaType: octets}
}

// Uncompressed reports whether [Convert] converts from and to the transfer syntax.
func Uncompressed(syntax string) bool {
	switch syntax {
	case ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian:
		return true
	}
	return false
}

// TransferSyntaxes returns the table of PS3.6 Table A-1 in the order of the UIDs' registration.
func TransferSyntaxes() []TransferSyntax { return append([]TransferSyntax(nil), syntaxes[:]...) }

const octets = "application/octet-stream"

func encapsulated(suffix, name, media string) TransferSyntax {
	return TransferSyntax{UID: ImplicitVRLittleEndian + suffix, Name: name, Encapsulated: true,
		Video: strings.HasPrefix(media, "video/"), MediaType: media}
}

var syntaxes = [...]TransferSyntax{
	{UID: ImplicitVRLittleEndian, Name: "Implicit VR Little Endian", Implicit: true, MediaType: octets},
	{UID: ExplicitVRLittleEndian, Name: "Explicit VR Little Endian", MediaType: octets},
	encapsulated(".1.98", "Encapsulated Uncompressed Explicit VR Little Endian", octets),
	{UID: DeflatedExplicitVRLittleEndian, Name: "Deflated Explicit VR Little Endian", Deflated: true, MediaType: octets},
	{UID: ExplicitVRBigEndian, Name: "Explicit VR Big Endian (Retired)", BigEndian: true, MediaType: octets},
	encapsulated(".4.50", "JPEG Baseline (Process 1)", "image/jpeg"),
	encapsulated(".4.51", "JPEG Extended (Process 2 & 4)", "image/jpeg"),
	encapsulated(".4.52", "JPEG Extended (Process 3 & 5) (Retired)", "image/jpeg"),
	encapsulated(".4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8) (Retired)", "image/jpeg"),
	encapsulated(".4.54", "JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9) (Retired)", "image/jpeg"),
	encapsulated(".4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 & 12) (Retired)", "image/jpeg"),
	encapsulated(".4.56", "JPEG Full Progression, Non-Hierarchical (Process 11 & 13) (Retired)", "image/jpeg"),
	encapsulated(".4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", "image/jpeg"),
	encapsulated(".4.58", "JPEG Lossless, Non-Hierarchical (Process 15) (Retired)", "image/jpeg"),
	encapsulated(".4.59", "JPEG Extended, Hierarchical (Process 16 & 18) (Retired)", "image/jpeg"),
	encapsulated(".4.60", "JPEG Extended, Hierarchical (Process 17 & 19) (Retired)", "image/jpeg"),
	encapsulated(".4.61", "JPEG Spectral Selection, Hierarchical (Process 20 & 22) (Retired)", "image/jpeg"),
	encapsulated(".4.62", "JPEG Spectral Selection, Hierarchical (Process 21 & 23) (Retired)", "image/jpeg"),
	encapsulated(".4.63", "JPEG Full Progression, Hierarchical (Process 24 & 26) (Retired)", "image/jpeg"),
	encapsulated(".4.64", "JPEG Full Progression, Hierarchical (Process 25 & 27) (Retired)", "image/jpeg"),
	encapsulated(".4.65", "JPEG Lossless, Hierarchical (Process 28) (Retired)", "image/jpeg"),
	encapsulated(".4.66", "JPEG Lossless, Hierarchical (Process 29) (Retired)", "image/jpeg"),
	encapsulated(".4.70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])", "image/jpeg"),
	encapsulated(".4.80", "JPEG-LS Lossless Image Compression", "image/jls"),
	encapsulated(".4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression", "image/jls"),
	encapsulated(".4.90", "JPEG 2000 Image Compression (Lossless Only)", "image/jp2"),
	encapsulated(".4.91", "JPEG 2000 Image Compression", "image/jp2"),
	encapsulated(".4.92", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)", "image/jpx"),
	encapsulated(".4.93", "JPEG 2000 Part 2 Multi-component Image Compression", "image/jpx"),
	{UID: ImplicitVRLittleEndian + ".4.94", Name: "JPIP Referenced", MediaType: octets},
	{UID: ImplicitVRLittleEndian + ".4.95", Name: "JPIP Referenced Deflate", Deflated: true, MediaType: octets},
	encapsulated(".4.100", "MPEG2 Main Profile / Main Level", "video/mpeg"),
	encapsulated(".4.100.1", "Fragmentable MPEG2 Main Profile / Main Level", "video/mpeg"),
	encapsulated(".4.101", "MPEG2 Main Profile / High Level", "video/mpeg"),
	encapsulated(".4.101.1", "Fragmentable MPEG2 Main Profile / High Level", "video/mpeg"),
	encapsulated(".4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
	encapsulated(".4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
	encapsulated(".4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
	encapsulated(".4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
	encapsulated(".4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
	encapsulated(".4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
	encapsulated(".4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
	encapsulated(".4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
	encapsulated(".4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
	encapsulated(".4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
	encapsulated(".4.107", "HEVC/H.265 Main Profile / Level 5.1", "video/H265"),
	encapsulated(".4.108", "HEVC/H.265 Main 10 Profile / Level 5.1", "video/H265"),
	encapsulated(".4.110", "JPEG XL Lossless", "image/jxl"),
	encapsulated(".4.111", "JPEG XL JPEG Recompression", "image/jxl"),
	encapsulated(".4.112", "JPEG XL", "image/jxl"),
	encapsulated(".4.201", "High-Throughput JPEG 2000 Image Compression (Lossless Only)", "image/jphc"),
	encapsulated(".4.202", "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)", "image/jphc"),
	encapsulated(".4.203", "High-Throughput JPEG 2000 Image Compression", "image/jphc"),
	{UID: ImplicitVRLittleEndian + ".4.204", Name: "JPIP HTJ2K Referenced", MediaType: octets},
	{UID: ImplicitVRLittleEndian + ".4.205", Name: "JPIP HTJ2K Referenced Deflate", Deflated: true, MediaType: octets},
	encapsulated(".5", "RLE Lossless", "image/dicom-rle"),
	encapsulated(".6.1", "RFC 2557 MIME encapsulation (Retired)", octets),
	encapsulated(".6.2", "XML Encoding (Retired)", octets),
	encapsulated(".7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video", octets),
	encapsulated(".7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", octets),
	encapsulated(".7.3", "SMPTE ST 2110-30 PCM Digital Audio", octets),
	encapsulated(".8.1", "Deflated Image Frame Compression", "application/x-deflate"),
	{UID: "1.2.840.10008.1.20", Name: "Papyrus 3 Implicit VR Little Endian (Retired)", Implicit: true, MediaType: octets},
}
