package notify

import "strconv"

const clusterSlots = 16384

// tagOf is a hash tag whose keys are in a slot of a Cluster.
func tagOf(slot int) string {
	for i := 0; ; i++ { // some sixteen thousand tries
		if tag := strconv.FormatInt(int64(i), 36); int(crc16(tag))%clusterSlots == slot {
			return tag
		}
	}
}

// crc16 is the CRC16/XMODEM of the cluster specification, appendix A.
func crc16(s string) (crc uint16) {
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
