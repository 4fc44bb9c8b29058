package artifacts

// Part is what a record needs and is stored with it, where it is not there yet.
type Part struct {
	Payload
	manifest *Manifest
}

// atHand are the parts that are about to be stored.
type atHand map[Digest]Part

// Part is the manifest as a part of what names it.
func (m *Manifest) Part() (Part, error) {
	b, d, err := m.Encode()
	if err != nil {
		return Part{}, err
	}
	return Part{Payload{Blob{ManifestMediaType, d, int64(len(b))}, b, []string{StepManifest}}, m}, nil
}

// Part is the action as a part of its records.
func (a *Action) Part() (Part, Key, error) {
	b, k, err := a.Encode()
	if err != nil {
		return Part{}, Key{}, err
	}
	return Part{Payload: Payload{Blob{ActionMediaType, k.Digest(), int64(len(b))}, b, []string{StepAction}}}, k, nil
}

// LogPart is what a run said, as a part of its record.
func LogPart(b []byte) Part {
	return Part{Payload: Payload{Blob: Blob{LogMediaType, Sum(b), int64(len(b))}, Bytes: b}}
}
