package bench

import "os"

var oldReads = os.Getenv("OLD_READS") != ""
