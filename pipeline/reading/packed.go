package reading

import "github.com/Ruihan11/tiny-infra/artifacts"

// Pack writes r.
func (r *Readings) Pack(p *Packer) {
	packFiles(p, r.Files)
	p.Number(int64(len(r.Folders)))
	for i := range r.Folders {
		f := File{Name: r.Folders[i].Path, sight: r.Folders[i].sight}
		f.pack(p, &look{})
	}
	p.Number(int64(len(r.Kinds)))
	for _, k := range r.Kinds {
		p.Text(k.Path)
		p.Text(k.Kind)
	}
	p.Number(int64(len(r.Variables)))
	for _, v := range r.Variables {
		p.Text(v.Name)
		p.Truth(v.Set)
		p.Digest(v.Value)
	}
}

// packFiles writes each folder once.
func packFiles(p *Packer, files []File) {
	p.Number(int64(len(files)))
	for len(files) > 0 {
		n := 1
		for n < len(files) && files[n].Folder == files[0].Folder {
			n++
		}
		p.Text(files[0].Folder)
		p.Number(int64(n))
		last := look{}
		for i := range files[:n] {
			files[i].pack(p, &last)
			last = files[i].Look
		}
		files = files[n:]
	}
}

// What a file's flags say. Most files of a folder were made by the same hand, one after the other.
const (
	isYoung    = 1 << iota
	namedBySum // its name is the hex of its digest
	namedByHex // its name is the hex of another
	sameDevice // as the file before it
	sameMode
	sameModified
)

func flag(bit int64, holds bool) int64 {
	if holds {
		return bit
	}
	return 0
}

func (f *File) pack(p *Packer, last *look) {
	flags := flag(isYoung, f.Young) | flag(namedBySum, f.Name == "" && f.Hex == f.Digest) | flag(namedByHex, f.Name == "" && f.Hex != f.Digest) |
		flag(sameDevice, f.Look.Device == last.Device) | flag(sameMode, f.Look.Mode == last.Mode) | flag(sameModified, f.Look.Modified == last.Modified)
	p.Number(flags)
	switch {
	case flags&namedByHex != 0:
		p.Digest(f.Hex)
	case flags&namedBySum == 0:
		p.Text(f.Name)
	}
	p.Digest(f.Digest)
	p.Number(f.Look.Size)
	p.Number(int64(f.Look.Inode - last.Inode))
	p.Number(f.Look.Changed - last.Changed)
	if flags&sameDevice == 0 {
		p.Number(int64(f.Look.Device))
	}
	if flags&sameMode == 0 {
		p.Number(int64(f.Look.Mode))
	}
	if flags&sameModified == 0 {
		p.Number(f.Look.Modified)
	}
}

func (f *File) unpack(u *Unpacker, last *look) {
	flags := u.Number()
	f.Young = flags&isYoung != 0
	switch {
	case flags&namedByHex != 0:
		f.Hex = u.Digest()
	case flags&namedBySum == 0:
		f.Name = u.Text()
	}
	f.Digest = u.Digest()
	if flags&namedBySum != 0 {
		f.Hex = f.Digest
	}
	f.Look = look{Size: u.Number(), Inode: last.Inode + uint64(u.Number()), Changed: last.Changed + u.Number(), Device: last.Device, Mode: last.Mode, Modified: last.Modified}
	if flags&sameDevice == 0 {
		f.Look.Device = uint64(u.Number())
	}
	if flags&sameMode == 0 {
		f.Look.Mode = uint32(u.Number())
	}
	if flags&sameModified == 0 {
		f.Look.Modified = u.Number()
	}
}

// The least room of each, in bytes.
const (
	leastFile    = 1 + len(artifacts.Digest{}) + 3
	leastReading = 2
)

// UnpackReadings reads what Pack wrote.
func UnpackReadings(u *Unpacker) Readings {
	r := Readings{Files: unpackFiles(u)}
	r.Folders = make([]Folder, u.Count(leastFile))
	for i := range r.Folders {
		var f File
		f.unpack(u, &look{})
		r.Folders[i] = Folder{f.Name, f.sight}
	}
	r.Kinds = make([]Kind, u.Count(leastReading))
	for i := range r.Kinds {
		r.Kinds[i] = Kind{u.Text(), u.Text()}
	}
	r.Variables = make([]Variable, u.Count(leastReading))
	for i := range r.Variables {
		r.Variables[i] = Variable{u.Text(), u.Truth(), u.Digest()}
	}
	return r
}

func unpackFiles(u *Unpacker) []File {
	files := make([]File, u.Count(leastFile))
	for done := 0; done < len(files); {
		folder := u.Text()
		n := u.Count(leastFile)
		if n == 0 || n > len(files)-done {
			u.fail()
			return nil
		}
		last := look{}
		for i := range files[done : done+n] {
			f := &files[done+i]
			f.Folder = folder
			f.unpack(u, &last)
			last = f.Look
		}
		done += n
	}
	return files
}
