// In the torch-free binary: commands that compute go on in `pare-torch`, with the same words.

namespace pare {}
