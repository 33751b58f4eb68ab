// Package render turns a decoded frame into the picture that a person sees,
// and that picture into JPEG, PNG or GIF (PS3.18 §8.3.5).
//
// A [Renderer] is prepared once for an instance and takes frames from there:
// greyscale goes through the Modality LUT (PS3.3 §C.11.1) and the VOI LUT or
// window (PS3.3 §C.11.2), of the frame's functional groups before the shared
// ones before the data set's own (PS3.3 §C.7.6.16); colour through the palette
// (PS3.3 §C.7.9) or from YBR to RGB. Overlay planes (PS3.3 §C.9.2) are drawn in
// white, pixels that are not square are made so, the region of the viewport is
// cut, flipped and scaled, annotations are drawn last.
//
// The standard leaves choices. Here a VOI LUT Sequence goes before a window, the
// first item and the first value of several are taken, and an image without
// either spans the values it has; padding (PS3.3 §C.7.5.1.1.2) is black. Windows
// do not apply to colour. Values are what PS3.14 calls P-Values, shown as they
// are: the greyscale standard display function is the display's part.
//
// Input is hostile. What attributes claim is checked against what there is: a
// claim that makes no sense is passed over where the rest shows a picture, and is
// fault.NotAcceptable where it does not. No allocation is larger than the picture's.
package render
