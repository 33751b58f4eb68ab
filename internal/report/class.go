package report

import "strings"

// className names what an instance of a SOP Class is, briefly; "Instance" when
// the class is not one that reports often refer to.
func className(uid string) string {
	rest, ok := strings.CutPrefix(uid, storage)
	if !ok {
		return "Instance"
	}
	for _, c := range classes {
		if c[0] == rest || strings.HasSuffix(c[0], ".") && strings.HasPrefix(rest, c[0]) {
			return c[1]
		}
	}
	return "Instance"
}

// classes are those of PS3.6 Table A-1 below 1.2.840.10008.5.1.4.1.1; one that
// ends with a dot stands for all below it.
var classes = [...][2]string{
	{"1", "Computed radiography image"}, {"1.1", "Digital X-ray image"}, {"1.1.1", "Digital X-ray image"},
	{"1.2", "Mammography image"}, {"1.2.1", "Mammography image"}, {"1.3", "Intra-oral X-ray image"}, {"1.3.1", "Intra-oral X-ray image"},
	{"2", "CT image"}, {"2.1", "CT image"}, {"2.2", "CT image"},
	{"3.1", "Ultrasound multi-frame image"}, {"6.1", "Ultrasound image"}, {"6.2", "Ultrasound volume"}, {"6.3", "Photoacoustic image"},
	{"4", "MR image"}, {"4.1", "MR image"}, {"4.2", "MR spectroscopy"}, {"4.3", "MR image"}, {"4.4", "MR image"},
	{"7", "Secondary capture image"}, {"7.", "Secondary capture image"},
	{"9.", "Waveform"}, {"11.", "Presentation state"},
	{"12.1", "X-ray angiographic image"}, {"12.1.1", "X-ray angiographic image"}, {"12.2", "X-ray radiofluoroscopic image"}, {"12.2.1", "X-ray radiofluoroscopic image"},
	{"13.1.1", "X-ray 3D image"}, {"13.1.2", "X-ray 3D image"}, {"13.1.3", "Breast tomosynthesis image"}, {"13.1.4", "Breast projection X-ray image"}, {"13.1.5", "Breast projection X-ray image"},
	{"14.", "Intravascular optical coherence tomography image"},
	{"20", "Nuclear medicine image"}, {"30", "Parametric map"}, {"66", "Raw data"}, {"66.1", "Spatial registration"}, {"66.2", "Spatial fiducials"}, {"66.3", "Deformable spatial registration"},
	{"66.4", "Segmentation"}, {"66.5", "Surface segmentation"}, {"66.6", "Tractography results"}, {"66.7", "Label map segmentation"}, {"66.8", "Height map segmentation"}, {"67", "Real world value mapping"},
	{"77.1.1", "Endoscopic image"}, {"77.1.1.1", "Endoscopic video"}, {"77.1.2", "Microscopic image"}, {"77.1.2.1", "Microscopic video"}, {"77.1.3", "Slide microscopic image"},
	{"77.1.4", "Photograph"}, {"77.1.4.1", "Photographic video"}, {"77.1.5.", "Ophthalmic image"}, {"77.1.6", "Whole slide image"}, {"77.1.7", "Dermoscopic image"},
	{"78.", "Ophthalmic measurements"}, {"79.1", "Macular grid thickness and volume report"}, {"80.1", "Visual field measurements"}, {"81.", "Ophthalmic map"}, {"82.1", "Corneal topography map"},
	{"88.11", "Basic text report"}, {"88.22", "Enhanced report"}, {"88.33", "Comprehensive report"}, {"88.34", "Comprehensive 3D report"}, {"88.35", "Extensible report"},
	{"88.40", "Procedure log"}, {"88.50", "Mammography CAD report"}, {"88.59", "Key object selection"}, {"88.65", "Chest CAD report"}, {"88.67", "X-ray radiation dose report"},
	{"88.68", "Radiopharmaceutical radiation dose report"}, {"88.69", "Colon CAD report"}, {"88.70", "Implantation plan"}, {"88.71", "Acquisition context"},
	{"88.72", "Adult echocardiography report"}, {"88.73", "Patient radiation dose report"}, {"88.74", "Planned imaging agent administration"}, {"88.75", "Performed imaging agent administration"},
	{"88.76", "Enhanced X-ray radiation dose report"}, {"88.", "Structured report"},
	{"90.1", "Content assessment results"}, {"91.1", "Microscopy bulk simple annotations"},
	{"104.1", "PDF document"}, {"104.2", "CDA document"}, {"104.3", "3D model (STL)"}, {"104.4", "3D model (OBJ)"}, {"104.5", "3D model material"},
	{"128", "PET image"}, {"128.1", "PET image"}, {"130", "Enhanced PET image"},
	{"481.1", "Radiotherapy image"}, {"481.2", "Radiotherapy dose"}, {"481.3", "Radiotherapy structure set"}, {"481.5", "Radiotherapy plan"}, {"481.8", "Radiotherapy ion plan"}, {"481.", "Radiotherapy record"},
}
