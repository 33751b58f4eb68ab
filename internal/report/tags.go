package report

import "github.com/strata-pacs/strata/internal/dicom"

// Attributes of the SR Document Content Module (PS3.3 §C.17.3) and its macros.
const (
	codeValue        dicom.Tag = 0x00080100
	schemeDesignator dicom.Tag = 0x00080102
	schemeVersion    dicom.Tag = 0x00080103
	codeMeaning      dicom.Tag = 0x00080104
	longCodeValue    dicom.Tag = 0x00080119
	urnCodeValue     dicom.Tag = 0x00080120

	referencedClass    dicom.Tag = 0x00081150
	referencedInstance dicom.Tag = 0x00081155
	referencedFrames   dicom.Tag = 0x00081160
	referencedSOP      dicom.Tag = 0x00081199
	referencedSeries   dicom.Tag = 0x00081115
	referencedSegments dicom.Tag = 0x0062000B
	referencedChannels dicom.Tag = 0x0040A0B0
	studyInstanceUID   dicom.Tag = 0x0020000D
	seriesInstanceUID  dicom.Tag = 0x0020000E

	relationshipType dicom.Tag = 0x0040A010
	observationTime  dicom.Tag = 0x0040A032
	valueType        dicom.Tag = 0x0040A040
	conceptName      dicom.Tag = 0x0040A043
	textValue        dicom.Tag = 0x0040A160
	floatingValue    dicom.Tag = 0x0040A161
	numerator        dicom.Tag = 0x0040A162
	denominator      dicom.Tag = 0x0040A163
	conceptCode      dicom.Tag = 0x0040A168
	measuredValue    dicom.Tag = 0x0040A300
	numericQualifier dicom.Tag = 0x0040A301
	numericValue     dicom.Tag = 0x0040A30A
	measurementUnits dicom.Tag = 0x004008EA
	contentSequence  dicom.Tag = 0x0040A730
	referencedItem   dicom.Tag = 0x0040DB73
	dateTimeValue    dicom.Tag = 0x0040A120
	dateValue        dicom.Tag = 0x0040A121
	timeValue        dicom.Tag = 0x0040A122
	personValue      dicom.Tag = 0x0040A123
	uidValue         dicom.Tag = 0x0040A124
	tableRows        dicom.Tag = 0x0040A802
	tableColumns     dicom.Tag = 0x0040A803

	temporalRange   dicom.Tag = 0x0040A130
	samplePositions dicom.Tag = 0x0040A132
	timeOffsets     dicom.Tag = 0x0040A138
	timeMoments     dicom.Tag = 0x0040A13A
	graphicData     dicom.Tag = 0x00700022
	graphicType     dicom.Tag = 0x00700023
	fiducialUID     dicom.Tag = 0x0070031A
	frameOfRefUID   dicom.Tag = 0x30060024

	currentEvidence   dicom.Tag = 0x0040A375
	pertinentEvidence dicom.Tag = 0x0040A385
	predecessors      dicom.Tag = 0x0040A360
	identicals        dicom.Tag = 0x0040A525
)
