package pixel

// ToRGB returns the image in RGB, samples side by side (PS3.3 §C.7.6.3.1.2).
// An image in RGB comes back as it is but for that; fault.NotAcceptable is one
// whose Photometric Interpretation has no colours, or samples of more than 16 bits.
func ToRGB(img Image) (Image, error) {
	img = img.Interleaved()
	switch {
	case img.Photometric == RGB:
		return img, nil
	case !img.Photometric.IsYBR():
		return Image{}, refuse("Photometric Interpretation (0028,0004) is no colour space that can be made RGB")
	}
	return img, nil
}
